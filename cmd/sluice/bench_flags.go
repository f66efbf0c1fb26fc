package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"sluice/test/load"
)

// finish turns flags into the cell and checks what only the command line can get wrong.
func (f *benchFlags) finish() (err error) {
	if f.cell.Header, err = parseHeaders(f.headers); err != nil {
		return err
	}
	if f.publish != "" {
		h, err := parseHeaders(f.publishHeaders)
		if err != nil {
			return err
		}
		f.cell.Publish = &load.Publish{URL: f.publish, Body: f.body, Header: h}
	}
	if f.cell.Warmup == 0 {
		f.cell.Warmup = -1
	}
	if f.cell.Settle == 0 {
		f.cell.Settle = -1
	}
	if f.cell.Rate <= 0 {
		f.cell.Rate = -1
	}
	switch f.expect {
	case "auto":
	case "none":
		f.cell.CountOnly = true
		if f.cell.Origin != "" || f.cell.Publish != nil {
			return errors.New("--expect none is for listening only: without --origin and --publish")
		}
	default:
		return fmt.Errorf("--expect %q: allowed are auto, none", f.expect)
	}
	if f.json && f.jsonLines {
		return errors.New("--json and --json-lines exclude each other")
	}
	if f.cell.Name == "" {
		f.cell.Name = "bench"
	}
	return f.mayReach(f.cell.URL)
}

// mayReach refuses a server elsewhere, unless the user says that it may be loaded.
func (f *benchFlags) mayReach(target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not an http or https URL", target)
	}
	ips, err := net.LookupIP(u.Hostname())
	if err != nil {
		return err
	}
	for _, ip := range ips {
		if !ip.IsLoopback() && !f.remote {
			return fmt.Errorf("%s is not this machine: add --remote if you may load it", u.Hostname())
		}
	}
	return nil
}

// parseHeaders reads 'Name: value' lines.
func parseHeaders(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(line, "\r\n") {
			return nil, fmt.Errorf("header %q is not 'Name: value'", line)
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}

// entries are the server of interest and its baselines; raw is the index of the raw loop, -1 = none.
func (f *benchFlags) entries(ctx context.Context) (all []load.Entry, raw int, err error) {
	raw = -1
	all = []load.Entry{{Name: f.cell.Name, Cell: f.cell}}
	for _, text := range f.baselines {
		if text == "raw" {
			raw = len(all)
			all = append(all, rawEntry(ctx, f.cell, f.pin))
			continue
		}
		e, err := f.baseline(text)
		if err != nil {
			return nil, 0, fmt.Errorf("--baseline %q: %w", text, err)
		}
		all = append(all, e)
	}
	return all, raw, nil
}

// baseline reads 'URL key=value …'. A body may hold spaces: it is the last field.
func (f *benchFlags) baseline(text string) (load.Entry, error) {
	text, body, hasBody := strings.Cut(text, " body=")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return load.Entry{}, errors.New("no URL")
	}
	cell := f.cell
	cell.URL, cell.PIDs, cell.Origin = fields[0], nil, ""
	if err := f.mayReach(cell.URL); err != nil {
		return load.Entry{}, err
	}
	name := cell.URL
	for _, field := range fields[1:] {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "publish":
			cell.Publish = &load.Publish{URL: value, Body: "{{data}}"}
		case "name":
			name = value
		case "pids":
			for p := range strings.SplitSeq(value, ",") {
				pid, err := strconv.Atoi(p)
				if err != nil {
					return load.Entry{}, fmt.Errorf("pid %q is not a number", p)
				}
				cell.PIDs = append(cell.PIDs, pid)
			}
		default:
			return load.Entry{}, fmt.Errorf("unknown key %q; there are publish, name, pids and, as the last, body", key)
		}
	}
	if hasBody && cell.Publish != nil {
		cell.Publish.Body = body
	}
	return load.Entry{Name: name, Cell: cell}, nil
}
