package load

import (
	"os"
	"runtime"
	"strings"
	"time"
)

// usage is what processes have used of a machine.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

// Machine is where figures were taken.
type Machine struct {
	CPU        string    `json:"cpu"`
	Cores      int       `json:"cores"`
	MemoryMB   int64     `json:"memory_mb"`
	OS         string    `json:"os"`
	Kernel     string    `json:"kernel"`
	Go         string    `json:"go"`
	GOMAXPROCS int       `json:"gomaxprocs"`
	GOGC       string    `json:"gogc"`
	Sysctls    []Sysctl  `json:"sysctls"`
	Date       time.Time `json:"date"`
	Command    string    `json:"command"`
}

// Sysctl is one setting of the system.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ReadMachine describes this machine. args is the command line to show.
func ReadMachine(args []string) Machine {
	m := Machine{
		Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		GOMAXPROCS: runtime.GOMAXPROCS(0), GOGC: os.Getenv("GOGC"), Date: time.Now().UTC().Truncate(time.Second),
		Command: strings.Join(args, " "),
	}
	if m.GOGC == "" {
		m.GOGC = "100"
	}
	systemFacts(&m)
	return m
}
