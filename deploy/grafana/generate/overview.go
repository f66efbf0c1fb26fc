package main

func overview() dashboard {
	return dashboard{"sluice-overview", "sluice / overview", "All nodes at a glance: what comes in, what goes out, and what is wrong.", []panel{
		{title: "Nodes", about: "Nodes that answer their scrapes.", unit: "short", stat: true, queries: []query{{`count(sluice_build_info{SEL})`, ""}}},
		{title: "Streams", about: "Open streams of clients.", unit: "short", stat: true, queries: []query{{`sum(sluice_edge_connections{SEL})`, ""}}},
		{title: "Deliveries", about: "Events handed to sockets per second.", unit: "ops", stat: true,
			queries: []query{{`sum(rate(sluice_fanout_deliveries_total{SEL}[$__rate_interval]))`, ""}}},
		{title: "Feeds up", about: "Share of the feeds that bring events from their upstream.", unit: "percentunit", stat: true,
			queries: []query{{`sum(sluice_ingest_feeds{SEL,state="up"}) / sum(sluice_ingest_feeds{SEL})`, ""}}},
		{title: "Gaps told", about: "Gaps that clients were told of in the last hour, for whatever reason.", unit: "short", stat: true,
			queries: []query{{`sum(increase(sluice_fanout_gaps_total{SEL}[1h])) or vector(0)`, ""}}},
		{title: "Memory", about: "The node that is nearest to its memory limit.", unit: "percentunit", stat: true,
			queries: []query{{`max(sluice_memory_used_bytes{SEL} / (sluice_memory_limit_bytes{SEL} > 0))`, ""}}},
		{title: "Events stored", about: "Events read from upstreams and stored, by API.", unit: "ops", stack: true,
			queries: []query{rate("sluice_ingest_events_total", "api", "{{api}}")}},
		{title: "Deliveries", about: "Events handed to sockets, by node: stored events times the clients that follow them.", unit: "ops", stack: true,
			queries: []query{rate("sluice_fanout_deliveries_total", "instance", "{{instance}}")}},
		{title: "Open streams", about: "Streams of clients, by node.", unit: "short", stack: true,
			queries: []query{sum("sluice_edge_connections", "instance", "{{instance}}")}},
		{title: "The whole way", about: "Time from reading an event from its upstream to having handed it to all clients that wait for it.", unit: "s",
			queries: quantiles("sluice_fanout_delivery_age_seconds", "")},
		{title: "CPU per delivery", about: "Processor time of the whole process per event handed to a socket.", unit: "s",
			queries: []query{{`sum by (instance) (rate(process_cpu_seconds_total{SEL}[$__rate_interval])) / sum by (instance) (rate(sluice_fanout_deliveries_total{SEL}[$__rate_interval]) > 0)`, "{{instance}}"}}},
		{title: "CPU", about: "Processors used by each node.", unit: "short", queries: []query{rate("process_cpu_seconds_total", "instance", "{{instance}}")}},
		{title: "Feeds by state", about: "Feeds by what their upstream does; anything but up wants a look.", unit: "short", stack: true,
			queries: []query{sum("sluice_ingest_feeds", "state", "{{state}}")}},
		{title: "Refused and shed", about: "Requests refused per second, by reason; shed ones are told to come back.", unit: "ops", stack: true,
			queries: []query{rate("sluice_edge_refused_total", "type", "{{type}}")}},
		{title: "Memory", about: "Memory held by each node, beside its limit.", unit: "bytes", queries: []query{sum("sluice_memory_used_bytes", "instance", "{{instance}} held"), sum("sluice_memory_limit_bytes", "instance", "{{instance}} limit")}},
	}}
}
