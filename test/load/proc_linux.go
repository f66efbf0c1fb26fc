package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// procTick is the unit of CPU times in /proc: Linux shows them in hundredths of a second on every architecture.
const procTick = 10 * time.Millisecond

// readUsage adds up CPU time and memory of processes.
func readUsage(pids []int) (u usage, err error) {
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			return usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 22 {
			return usage{}, fmt.Errorf("process %d: /proc/%d/stat has %d fields", pid, pid, len(fields))
		}
		user, _ := digits(fields[11])
		system, _ := digits(fields[12])
		pages, _ := digits(fields[21])
		u.cpu += time.Duration(user+system) * procTick
		u.rss += pages * int64(os.Getpagesize())
	}
	return u, nil
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// systemFacts reads what of the system matters for fan-out.
func systemFacts(m *Machine) {
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:])
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = afterColon(info, "model name")
	}
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		kb, _ := digits([]byte(afterColon(info, "MemTotal")))
		m.MemoryMB = kb / 1024
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		m.Sysctls = append(m.Sysctls, Sysctl{"nofile", strconv.FormatUint(limit.Cur, 10)})
	}
	for _, name := range []string{
		"net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_rmem",
		"net.ipv4.tcp_wmem", "net.ipv4.tcp_mem", "net.core.netdev_max_backlog", "fs.nr_open",
	} {
		b, err := os.ReadFile("/proc/sys/" + string(bytes.ReplaceAll([]byte(name), []byte("."), []byte("/"))))
		if err == nil {
			m.Sysctls = append(m.Sysctls, Sysctl{name, string(bytes.Join(bytes.Fields(b), []byte(" ")))})
		}
	}
}

// afterColon returns the value of the first line "name : value".
func afterColon(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(key)) == name {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
