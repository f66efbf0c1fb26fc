package oracle

// Gap is the data of a gateway.gap event.
type Gap struct {
	Reason   string  `json:"reason"`
	From     *string `json:"from,omitempty"`
	To       *string `json:"to,omitempty"`
	Possible bool    `json:"possible"`
	Doubles  bool    `json:"doubles,omitempty"`
	Missed   uint64  `json:"missed,omitempty"`
}

// Run says what a run of facts is judged by.
type Run struct {
	Seed uint64 `json:"seed"`
}
