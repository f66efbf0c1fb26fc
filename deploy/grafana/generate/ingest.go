package main

import "slices"

func ingest() dashboard {
	return dashboard{"sluice-ingest", "sluice / ingest", "From the upstreams to the store: states, rates, commits, seams.", []panel{
		{title: "Feeds by state", about: "Feeds by API and state; anything but up wants a look, GET /feeds says why.", unit: "short", stack: true,
			queries: []query{sum("sluice_ingest_feeds", "api, state", "{{api}} {{state}}")}},
		{title: "Events stored", about: "Events stored, by API.", unit: "ops", stack: true, queries: []query{rate("sluice_ingest_events_total", "api", "{{api}}")}},
		{title: "Bytes stored", about: "Bytes of event bodies stored, by API.", unit: "Bps", stack: true, queries: []query{rate("sluice_ingest_bytes_total", "api", "{{api}}")}},
		{title: "Age when stored", about: "Time from reading an event to the broker's acknowledgement: the oldest one of each commit.", unit: "s",
			queries: quantiles("sluice_ingest_event_age_seconds", "")},
		{title: "Commit", about: "Time of one commit, further attempts included, and of one attempt.", unit: "s",
			queries: slices.Concat(quantiles("sluice_ingest_commit_seconds", "commit"), quantiles("sluice_broker_commit_seconds", "attempt"))},
		{title: "Events per commit", about: "How many events go into one commit: it grows by itself when the broker is slower than the upstream.", unit: "short",
			queries: quantiles("sluice_ingest_commit_events", "")},
		{title: "Lag", about: "Age of the oldest event that was read and is not stored, by API.", unit: "s", queries: []query{{`max by (api) (sluice_ingest_lag_seconds{SEL})`, "{{api}}"}}},
		{title: "Silence", about: "Longest time for which an always-on feed that is up has brought nothing, by API.", unit: "s",
			queries: []query{{`max by (api) (sluice_ingest_silence_seconds{SEL})`, "{{api}}"}}},
		{title: "Queues", about: "Bytes read and not stored, beside the budget of the node; full queues stop reading.", unit: "bytes",
			queries: []query{sum("sluice_ingest_queue_bytes", "instance", "{{instance}}"), sum("sluice_ingest_queue_budget_bytes", "instance", "{{instance}} budget")}},
		{title: "Connects", about: "Attempts to connect to upstreams, by result.", unit: "ops", stack: true, queries: []query{rate("sluice_ingest_connects_total", "result", "{{result}}")}},
		{title: "Failed commits", about: "Attempts of commits that failed, by cause, and commits that another writer fenced.", unit: "ops",
			queries: []query{rate("sluice_ingest_commit_retries_total", "reason", "{{reason}}"), rate("sluice_ingest_fenced_total", "instance", "fenced, {{instance}}")}},
		{title: "Seams", about: "Markers stored where continuity of the upstream was not proven, by reason; clients are told a gap there.", unit: "ops", stack: true,
			queries: []query{rate("sluice_ingest_markers_total", "api, reason", "{{api}} {{reason}}")}},
		{title: "Not stored", about: "Upstream events that were repeated or too large.", unit: "ops", queries: []query{rate("sluice_ingest_skipped_total", "reason", "{{reason}}")}},
		{title: "Reading stopped", about: "Times reading an upstream was stopped because its queue was full.", unit: "ops",
			queries: []query{rate("sluice_ingest_backpressure_total", "instance", "{{instance}}")}},
		{title: "Feeds refused", about: "Feeds that edges asked for and did not get, by cause.", unit: "ops", queries: []query{rate("sluice_ingest_demand_refused_total", "reason", "{{reason}}")}},
	}}
}
