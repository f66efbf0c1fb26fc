package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"sluice/test/load"
)

// benchNginx is the configuration of Nchan; its arguments are a folder, the module and a port.
const benchNginx = `load_module %[2]s;
daemon off; worker_processes 1; worker_rlimit_nofile 65536;
pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events { worker_connections 65536; }
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  nchan_shared_memory_size 128M;
  server {
    listen 127.0.0.1:%[3]d backlog=4096;
    location = /pub { nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 1000; }
    location = /sub { nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }
  }
}
`

// startNchan starts nginx with the Nchan module and points the cell at it.
func startNchan(ctx context.Context, c *load.Cell, cpu int) (func(), error) {
	dir, err := os.MkdirTemp("", "nchan-bench-")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	file := filepath.Join(dir, "nginx.conf")
	if err == nil {
		err = os.WriteFile(file, fmt.Appendf(nil, benchNginx, dir, nchanModule, ports[0]), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	args := []string{"-p", dir, "-c", file}
	if os.Geteuid() == 0 {
		args = append(args, "-g", "user root;") // else its worker may not write to the folder
	}
	at := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	c.URL, c.Origin, c.Publish = at+"/sub", "", &load.Publish{URL: at + "/pub", Body: "{{data}}"}
	return startServer(ctx, c, exec.CommandContext(ctx, "nginx", args...), cpu, at+"/pub", dir)
}

const nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// hasNchan says that nginx and the module are installed.
func hasNchan() bool {
	_, noNginx := exec.LookPath("nginx")
	_, noModule := os.Stat(nchanModule)
	return noNginx == nil && noModule == nil
}
