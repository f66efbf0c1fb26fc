package admin

import (
	"archive/zip"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

const wso2API = `type: api
version: v4.6.0
data:
  name: ServerSentEvents
  context: /events
  version: 1.0.0
  type: SSE
  lifeCycleStatus: CREATED
  transport: [https]
  policies: [AsyncUnlimited]
  endpointConfig:
    endpoint_type: http
    production_endpoints: {url: 'http://secret-host.example:8080'}
  operations:
    - {target: /ticks, verb: SUBSCRIBE, authType: Any}
`

func TestWSO2ProjectsOverREST(t *testing.T) {
	r := newRig(t)
	c := r.as("both")
	c.send("POST", "/api/v1/import/wso2?dryRun=true", mediaYAML, wso2API).want(t, http.StatusOK)
	a := c.send("POST", "/api/v1/import/wso2", mediaYAML, wso2API).want(t, http.StatusCreated)
	path := a.header.Get("Location")
	api := apiOf(t, c.send("GET", path, "", "").want(t, http.StatusOK))
	if api.Spec.Context != "/events" || api.Topic("/ticks") == nil || len(api.Spec.Transports) != 1 || api.Spec.Endpoint != "http://secret-host.example:8080" {
		t.Errorf("imported %+v", api.Spec)
	}
	a = c.send("GET", path+"/export?format=wso2", "", "").want(t, http.StatusOK)
	if a.header.Get("Content-Type") != mediaZip || !strings.Contains(a.header.Get("Content-Disposition"), "ServerSentEvents-1.0.0.zip") {
		t.Errorf("header %v", a.header)
	}
	z, err := zip.NewReader(bytes.NewReader(a.body), int64(len(a.body)))
	if err != nil || len(z.File) < 3 {
		t.Fatalf("%v, %d files", err, len(z.File))
	}
	native := c.send("GET", path+"/export", "", "").want(t, http.StatusOK)
	c.send("DELETE", path, "", "", "If-Match", "*").want(t, http.StatusNoContent)
	c.send("POST", "/api/v1/import/wso2", mediaZip, string(a.body)).want(t, http.StatusCreated)
	if again := c.send("GET", path+"/export", "", "").want(t, http.StatusOK); string(again.body) != string(native.body) {
		t.Errorf("an export comes back as\n%s\nwas\n%s", again.body, native.body)
	}
	c.send("POST", "/api/v1/import/wso2", mediaZip, "PK no archive").problem(t, http.StatusUnprocessableEntity, "invalid-archive")
	c.send("POST", "/api/v1/import/wso2", mediaYAML, strings.Replace(wso2API, "type: SSE", "type: HTTP", 1)).problem(t, http.StatusUnprocessableEntity, "not-sse")
	published := strings.Replace(strings.Replace(wso2API, "CREATED", "PUBLISHED", 1), "/events", "/other", 1)
	r.as("creator").send("POST", "/api/v1/import/wso2", mediaYAML, strings.Replace(published, "ServerSentEvents", "Other", 1)).problem(t, http.StatusForbidden, "forbidden")
}
