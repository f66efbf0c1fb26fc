package auth

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/broker/brokertest"
)

func TestStandingEndsWithWhatItRestsOn(t *testing.T) {
	for _, c := range []struct {
		name string
		does func(t *testing.T, r *rig, token string) error
		// what is left of a token's and of a password's
		byToken, byPassword bool
	}{
		{"nothing", func(*testing.T, *rig, string) error { return nil }, true, true},
		{"another role more", func(t *testing.T, r *rig, _ string) error {
			_, err := r.UpdateUser(t.Context(), "kim", "", []Role{RoleCreator, RolePublisher})
			return err
		}, true, true},
		{"a role less", func(t *testing.T, r *rig, _ string) error {
			_, err := r.UpdateUser(t.Context(), "kim", "", []Role{RoleSubscriber})
			return err
		}, false, false},
		{"logout", func(t *testing.T, r *rig, token string) error { return r.Logout(t.Context(), token) }, false, true},
		{"another password", func(t *testing.T, r *rig, _ string) error {
			return r.ChangePassword(t.Context(), "a", "kim", testPassword, testPassword+"!")
		}, false, false},
		{"the user deleted", func(t *testing.T, r *rig, _ string) error { return r.DeleteUser(t.Context(), "kim") }, false, false},
		{"idle", func(*testing.T, *rig, string) error { time.Sleep(idleTime); return nil }, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := brokertest.NewMemory(t)
				defer b.Close()
				r := start(t, b, func(c *Config) { c.FirstPassword = testPassword })
				defer r.stop()
				if _, err := r.CreateUser(t.Context(), "kim", testPassword, []Role{RoleCreator}); err != nil {
					t.Fatal(err)
				}
				s, err := r.Login(t.Context(), "a", "kim", testPassword)
				if err != nil {
					t.Fatal(err)
				}
				byToken, byPassword := r.Standing("kim", s.Token), r.Standing("kim", "")
				if p, ok := byToken(); !ok || !p.Has(RoleCreator) {
					t.Fatalf("at the start: %+v, %v", p, ok)
				}
				if err := c.does(t, r, s.Token); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, ok := byToken(); ok != c.byToken {
					t.Errorf("by token: %v", ok)
				}
				if _, ok := byPassword(); ok != c.byPassword {
					t.Errorf("by password: %v", ok)
				}
			})
		})
	}
}
