package edge

import "sync"

// inflight counts handlers, so that Run returns when none is left. Unlike a
// WaitGroup it may be entered while somebody waits: net/http starts handlers until
// its connections are closed.
type inflight struct {
	mu   sync.Mutex // guards n, idle
	n    int
	idle chan struct{} // closed when n becomes 0; nil when nobody waits
}

func (f *inflight) enter() {
	f.mu.Lock()
	f.n++
	f.mu.Unlock()
}

func (f *inflight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// wait returns when no handler runs.
func (f *inflight) wait() {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	<-idle
}
