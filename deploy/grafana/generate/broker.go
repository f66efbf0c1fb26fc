package main

func brokers() dashboard {
	return dashboard{"sluice-broker", "sluice / broker", "The broker as nodes see it, and the embedded one's store. A NATS cluster has its own metrics beside these.", []panel{
		{title: "Link", about: "1 while all connections of a node to the broker are up.", unit: "short", queries: []query{{`sluice_broker_up{SEL}`, "{{instance}}"}}},
		{title: "Cuts", about: "Connections cut, by purpose, and errors outside any call.", unit: "ops",
			queries: []query{rate("sluice_broker_connection_cuts_total", "conn", "cut: {{conn}}"), rate("sluice_broker_connection_errors_total", "conn", "error: {{conn}}")}},
		{title: "Commits", about: "Attempts of commits by the broker's word on them.", unit: "ops", stack: true, queries: []query{rate("sluice_broker_commits_total", "result", "{{result}}")}},
		{title: "Commit time", about: "Time from handing over a commit to the broker's word on it.", unit: "s", queries: quantiles("sluice_broker_commit_seconds", "")},
		{title: "Refusals", about: "Refusals by JetStream error code, and events sent again because another writer of the stream came between.", unit: "ops",
			queries: []query{rate("sluice_broker_refused_total", "code", "{{code}}"), rate("sluice_broker_mispredicted_total", "instance", "mispredicted, {{instance}}")}},
		{title: "Live", about: "Live deliveries by kind; doubles are dropped.", unit: "ops", stack: true,
			queries: []query{rate("sluice_broker_live_total", "kind", "{{kind}}"), rate("sluice_fanout_live_doubles_total", "instance", "doubles, {{instance}}")}},
		{title: "Reads", about: "Read requests to the broker, by kind, and those asked again.", unit: "ops",
			queries: []query{rate("sluice_broker_read_requests_total", "kind", "{{kind}}"), rate("sluice_broker_read_retries_total", "instance", "again, {{instance}}")}},
		{title: "Backlog blocks", about: "Look-ups of backlog answered from memory, and blocks read from the broker: a storm of resumes reads few.", unit: "ops",
			queries: []query{rate("sluice_fanout_block_hits_total", "instance", "{{instance}} held"), rate("sluice_fanout_block_fetches_total", "instance", "{{instance}} read")}},
		{title: "Messages read", about: "Stored messages received by direct reads.", unit: "ops", queries: []query{rate("sluice_broker_read_messages_total", "instance", "{{instance}}")}},
		{title: "May have missed", about: "Times feeds may have missed live events, by cause; each is followed by a repair.", unit: "ops",
			queries: []query{rate("sluice_broker_dirty_total", "reason", "{{reason}}")}},
		{title: "Store", about: "What the embedded broker stores and has promised to streams, beside its limit.", unit: "bytes",
			queries: []query{sum("sluice_broker_store_bytes", "instance, kind", "{{instance}} {{kind}}"), sum("sluice_broker_store_reserved_bytes", "instance, kind", "{{instance}} {{kind}} promised"),
				sum("sluice_broker_store_limit_bytes", "instance, kind", "{{instance}} {{kind}} limit")}},
		{title: "Seen live", about: "Time from reading an event from its upstream to its being visible to readers on an edge.", unit: "s",
			queries: quantiles("sluice_fanout_live_age_seconds", "")},
	}}
}
