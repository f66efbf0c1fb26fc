package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"sluice/test/feed"
	"sluice/test/gateway"
	"sluice/test/oracle"
)

// TestPowerLoss takes the power away: the store lies on a disk image that is copied, without a sync, while the process is
// stopped, and the process goes on with the copy. Profile power has lost nothing that was acknowledged: A22. Profile process
// may have lost the last second, and tells those who saw it: A21.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a disk image takes root")
	}
	for _, need := range []string{"mkfs.ext4", "fsck.ext4", "mount"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("%s is not installed (apt-get install e2fsprogs mount)", need)
		}
	}
	for _, profile := range []string{"power", "process"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			const clients, cuts = 6, 3
			l := newLine(t, feed.Options{Rate: 200}, gateway.Options{Env: []string{"SLUICE_BROKER_DURABILITY=" + profile}},
				oracle.Run{Reused: profile == "process", MinProduced: 200 * cuts, MinFaults: cuts}, ticksTopic)
			l.gate.Stop()
			d := newDisk(t, l.gate)
			l.gate.Start()
			l.readMany("/ticks", clients, nil)
			for range cuts {
				l.awaitAll(l.Stats("/ticks").Head + 150)
				l.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: "power loss", Edge: oracle.Begin})
				d.losePower()
				l.book.Add(oracle.Fact{Kind: oracle.KindFault, Name: oracle.ProcessGone, Edge: oracle.End})
				l.gate.Start()
			}
			l.awaitAll(l.Stats("/ticks").Head + 50)
			v := l.judge()
			if v.Resumes < clients*cuts {
				t.Errorf("%d resumes, want at least %d", v.Resumes, clients*cuts)
			}
			if profile == "power" && v.Gaps.Told > 0 {
				t.Errorf("%d gaps were told: something acknowledged was lost", v.Gaps.Told)
			}
			for _, c := range l.clients {
				for _, g := range c.State().Gaps {
					if g.Reason != "reset" {
						t.Errorf("gap %+v, want reason reset", g)
					}
				}
			}
		})
	}
}

// disk is an image with a file system, mounted where a gateway keeps its data.
type disk struct {
	t     *testing.T
	gate  *gateway.Gateway
	image string
	at    string
}

func newDisk(t *testing.T, gate *gateway.Gateway) *disk {
	t.Helper()
	d := &disk{t: t, gate: gate, image: filepath.Join(gate.Dir, "disk.img"), at: filepath.Join(gate.Dir, "data")}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(256 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d.do("mkfs.ext4", "-q", "-F", d.image)
	if err := os.RemoveAll(d.at); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.at, 0o700); err != nil {
		t.Fatal(err)
	}
	d.mount()
	t.Cleanup(func() {
		gate.Kill()
		d.do("umount", d.at)
	})
	return d
}

// mount mounts the image. The file system writes nothing by itself for ten minutes.
func (d *disk) mount() { d.do("mount", "-o", "loop,commit=600", d.image, d.at) }

// losePower ends the gateway and leaves it the disk as it was at one moment, what the kernel held in memory gone.
func (d *disk) losePower() {
	d.t.Helper()
	d.gate.Signal(syscall.SIGSTOP)
	d.do("cp", "--sparse=always", d.image, d.image+".crash")
	d.gate.Kill()
	d.do("umount", d.at)
	if err := os.Rename(d.image+".crash", d.image); err != nil {
		d.t.Fatal(err)
	}
	// 1 = the journal was played back, or something was put right.
	if out, err := exec.Command("fsck.ext4", "-p", d.image).CombinedOutput(); err != nil && exitCode(err) != 1 {
		d.t.Fatalf("fsck.ext4: %v: %s", err, out)
	}
	d.mount()
}

func (d *disk) do(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}
