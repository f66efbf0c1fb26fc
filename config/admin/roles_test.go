package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/internal/auth"
)

// TestEveryRouteHasARoleClass calls every operation of the contract as nobody and as each role.
func TestEveryRouteHasARoleClass(t *testing.T) {
	r := newRig(t)
	fill := strings.NewReplacer("{id}", "nothing@1", "{n}", "1", "{name}", "nothing", "{slug}", "not-found")
	for _, op := range r.server.contract.ops {
		if op.path == "/api/v1/logout" {
			continue // would end the sessions that the others use: TestSession
		}
		target := fill.Replace(op.path)
		t.Run(op.method+" "+op.path, func(t *testing.T) {
			switch a := r.nobody().send(op.method, target, "", ""); {
			case op.open && (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden):
				t.Errorf("nobody: %d", a.status)
			case !op.open:
				a.problem(t, http.StatusUnauthorized, "unauthenticated")
				if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("challenge %q", a.header.Get("WWW-Authenticate"))
				}
			}
			for _, role := range []auth.Role{auth.RoleAdmin, auth.RoleCreator, auth.RolePublisher, auth.RoleSubscriber} {
				a := r.as(string(role)).send(op.method, target, "", "")
				may := op.open || op.roles == nil || role == auth.RoleAdmin || slices.Contains(op.roles, role)
				if !may {
					a.problem(t, http.StatusForbidden, "forbidden")
				} else if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
					t.Errorf("%s: %d", role, a.status)
				}
				if a.status >= 500 {
					t.Errorf("%s: %d %s", role, a.status, a.body)
				}
			}
		})
	}
}

// TestEveryRouteIsInTheContract fails when the router answers what openapi.yaml does not describe.
func TestEveryRouteIsInTheContract(t *testing.T) {
	r := newRig(t)
	routes := map[string]bool{}
	for _, route := range r.server.front.Routes() {
		routes[route.Method+" "+route.Path] = true
		if r.server.contract.find(route.Method, route.Path) == nil {
			t.Errorf("%s %s is not in openapi.yaml", route.Method, route.Path)
		}
	}
	for key := range r.server.contract.ops {
		if !routes[key] {
			t.Errorf("%s of openapi.yaml has no route", key)
		}
	}
}

func TestSession(t *testing.T) {
	r := newRig(t)
	login := func(name, password string) answered {
		return r.nobody().send("POST", "/api/v1/login", mediaJSON, `{"name":"`+name+`","password":"`+password+`"}`)
	}
	s := decodeAs[Session](t, login("creator", testPassword).want(t, http.StatusOK).body)
	c := client{r, s.Token}
	me := decodeAs[Me](t, c.send("GET", "/api/v1/me", "", "").want(t, http.StatusOK).body)
	if me.Name != "creator" || len(me.Roles) != 1 || me.Roles[0] != "creator" {
		t.Errorf("me is %+v", me)
	}
	c.send("POST", "/api/v1/logout", "", "").want(t, http.StatusNoContent)
	c.send("GET", "/api/v1/me", "", "").problem(t, http.StatusUnauthorized, "unauthenticated")
	login("creator", "not the password").problem(t, http.StatusUnauthorized, "unauthenticated")
	login("nobody", testPassword).problem(t, http.StatusUnauthorized, "unauthenticated")
	basic := "Basic Y3JlYXRvcjpjb3JyZWN0IGhvcnNlIGJhdHRlcnk="
	r.nobody().send("GET", "/api/v1/me", "", "", "Authorization", basic).want(t, http.StatusOK)
	for _, wrong := range []string{"Basic", "Basic x", "Basic eA==", "Bearer", "Bearer x", "Digest x", "x"} {
		r.nobody().send("GET", "/api/v1/me", "", "", "Authorization", wrong).problem(t, http.StatusUnauthorized, "unauthenticated")
	}
	for range 20 {
		if a := login("creator", "wrong again and again"); a.status == http.StatusTooManyRequests {
			a.problem(t, http.StatusTooManyRequests, "too-many-attempts")
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			return
		}
	}
	t.Error("guessing is never slowed down")
}

func TestPasswordsAndUsers(t *testing.T) {
	r := newRig(t)
	admin := r.as("admin")
	a := admin.send("POST", "/api/v1/users", mediaJSON, `{"name":"kim","password":"`+testPassword+`","roles":["publisher"]}`).want(t, http.StatusCreated)
	if a.header.Get("Location") != "/api/v1/users/kim" {
		t.Errorf("location %q", a.header.Get("Location"))
	}
	admin.send("POST", "/api/v1/users", mediaJSON, `{"name":"kim","password":"`+testPassword+`","roles":["publisher"]}`).problem(t, http.StatusConflict, "user-exists")
	admin.send("GET", "/api/v1/users/kim", "", "").want(t, http.StatusOK)
	if list := decodeAs[UserList](t, admin.send("GET", "/api/v1/users", "", "").want(t, http.StatusOK).body); list.Total != 8 || len(list.Items) != 8 {
		t.Errorf("users %+v", list)
	}
	for _, c := range []struct {
		name, body string
		status     int
		slug       string
		pointer    string
	}{
		{"no body", ``, 400, "invalid-json", ""},
		{"no name", `{"password":"` + testPassword + `","roles":["admin"]}`, 422, "invalid-value", "/name"},
		{"bad name", `{"name":"A","password":"` + testPassword + `","roles":["admin"]}`, 422, "invalid-name", "/name"},
		{"no role", `{"name":"a","password":"` + testPassword + `","roles":[]}`, 422, "invalid-value", "/roles"},
		{"unknown role", `{"name":"a","password":"` + testPassword + `","roles":["boss"]}`, 422, "invalid-value", "/roles/0"},
		{"weak password", `{"name":"a","password":"short","roles":["admin"]}`, 422, "weak-password", "/password"},
		{"unknown field", `{"name":"a","pasword":"x","roles":["admin"]}`, 400, "unknown-field", "/pasword"},
		{"twice", `{"name":"a","name":"b","password":"` + testPassword + `","roles":["admin"]}`, 400, "duplicate-key", "/name"},
	} {
		p := admin.send("POST", "/api/v1/users", mediaJSON, c.body).problem(t, c.status, c.slug)
		if c.pointer != "" && !slices.ContainsFunc(p.Errors, func(f Finding) bool { return f.Pointer == c.pointer }) {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
	admin.send("PUT", "/api/v1/users/kim", mediaJSON, `{"roles":["creator","subscriber"]}`).want(t, http.StatusOK)
	kim := decodeAs[Session](t, r.nobody().send("POST", "/api/v1/login", mediaJSON, `{"name":"kim","password":"`+testPassword+`"}`).want(t, http.StatusOK).body)
	c := client{r, kim.Token}
	c.send("PUT", "/api/v1/me/password", mediaJSON, `{"current":"wrong","password":"another long one"}`).problem(t, http.StatusForbidden, "forbidden")
	c.send("PUT", "/api/v1/me/password", mediaJSON, `{"current":"`+testPassword+`","password":"another long one"}`).want(t, http.StatusNoContent)
	c.send("GET", "/api/v1/me", "", "").problem(t, http.StatusUnauthorized, "unauthenticated")
	admin.send("DELETE", "/api/v1/users/kim", "", "").want(t, http.StatusNoContent)
	admin.send("GET", "/api/v1/users/kim", "", "").problem(t, http.StatusNotFound, "not-found")
	admin.send("DELETE", "/api/v1/users/admin", "", "").problem(t, http.StatusConflict, "last-admin")
}
