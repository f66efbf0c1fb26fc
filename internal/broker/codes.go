package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// Error codes of JetStream that we tell apart.
const (
	codeWrongLast      = 10071 // wrong last sequence; the text has the actual one
	codeWrongLastMsg   = 10070 // another message is the stream's last: a prediction failed
	codeWrongLastBusy  = 10164 // the same while a write on this subject is in flight: no number
	codeBatchesBusy    = 10210 // too many open batches
	codeTooMany        = 10167 // too many requests
	codeBatchPart      = 10176 // batch incomplete: its start was refused or it was thrown out
	codeNoMessage      = 10037
	codeNoStream       = 10059
	codeStreamMismatch = 10060
	codeStreamExists   = 10058
	codeCreateFailed   = 10049 // a stream of this name is still being deleted
	codeNotAvailable   = 10008 // JetStream temporarily unavailable
	codeNoLeader       = 10009
	codeNotEnabled     = 10076
	codeNotEnabledAcct = 10039
	codeTooLarge       = 10054
	codeHdrTooLarge    = 10097
	codeStoreFailed    = 10077
	codeNoStorage      = 10047
	codeNoMemory       = 10028
	codeNoResources    = 10023
	codeResources      = 10002
	codeStreamOffline  = 10118
	codeNoReplicas     = 10074 // replicas asked of a server without cluster
	codeNoPeers        = 10005 // too few servers for the replicas
)

// jsError is the error part of a JetStream answer.
type jsError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *jsError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// Unwrap names the sentinel that callers branch on.
func (e *jsError) Unwrap() error {
	switch e.ErrCode {
	case codeWrongLast, codeWrongLastMsg:
		return ErrConflict
	case codeWrongLastBusy, codeBatchesBusy, codeTooMany, codeBatchPart, codeCreateFailed:
		return ErrBusy
	case codeNoStream, codeStreamMismatch:
		return ErrNoStream
	case codeNoMessage:
		return ErrNotFound
	case codeNotAvailable, codeNoLeader, codeNotEnabled, codeNotEnabledAcct, codeStreamOffline, codeNoPeers:
		return ErrUnavailable
	case codeTooLarge, codeHdrTooLarge:
		return ErrTooLarge
	case codeNoStorage, codeNoMemory, codeNoResources, codeResources:
		return ErrStoreFull
	case codeStoreFailed:
		if strings.Contains(e.Description, "maximum") || strings.Contains(e.Description, "exceed") {
			return ErrStoreFull
		}
		return ErrUnavailable
	}
	return ErrRefused
}

// actual returns the sequence named by a codeWrongLast error.
func (e *jsError) actual() (uint64, bool) {
	if e.ErrCode != codeWrongLast {
		return 0, false
	}
	i := strings.LastIndexByte(e.Description, ' ')
	n, err := strconv.ParseUint(e.Description[i+1:], 10, 64)
	return n, err == nil
}

// apiError returns the error part of a JetStream answer, nil if there is none.
func apiError(answer []byte) error {
	if !bytes.Contains(answer, []byte(`"error"`)) {
		return nil
	}
	var r struct {
		Error *jsError `json:"error"`
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return fmt.Errorf("%w: unreadable answer: %w", ErrRefused, err)
	}
	if r.Error == nil {
		return nil
	}
	return r.Error
}

// parseAck returns the sequence of a PubAck or its error.
func parseAck(answer []byte) (uint64, error) {
	if err := apiError(answer); err != nil {
		return 0, err
	}
	const key = `"seq":`
	i := bytes.Index(answer, []byte(key))
	if i < 0 {
		return 0, fmt.Errorf("%w: answer without sequence", ErrRefused)
	}
	var seq uint64
	for _, c := range answer[i+len(key):] {
		if c == ' ' && seq == 0 {
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seq = seq*10 + uint64(c-'0')
	}
	if seq == 0 || bytes.Contains(answer, []byte(`"duplicate"`)) {
		return 0, fmt.Errorf("%w: answer without sequence, or a message id used twice", ErrRefused)
	}
	return seq, nil
}

// mapError turns an error of the client library into one of ours, wrapping both.
func mapError(err error) error {
	var js *jsError
	switch {
	case err == nil, errors.As(err, &js):
		return err
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
