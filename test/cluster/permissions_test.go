package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// rights are what one user may do, and a sample of what it may not: publish, and subscribe behind "sub ".
type rights struct {
	user      string
	allowed   []string
	forbidden []string
}

// everybody is refused this, whatever the role: other people's buckets and answers, the servers' own business.
var everybody = []string{
	"live.market_v1.ticks", "mlive.eu.market_v1.ticks", "ctl.x", "anything", "a.b.c",
	"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.SSE.JSZ", "$SYS.ACCOUNT.SSE.CONNECT", "$KV.other.x",
	"_INBOX.x.1", "_INBOX_other.x.1", "$JS.ACK.EV_market_v1.c.1.1.1.1.1", "$JS.EVENT.ADVISORY.x",
	"sub >", "sub *", "sub *.>", "sub ev.>", "sub ev.market_v1.ticks", "sub $SYS.>", "sub $JS.API.>", "sub $JS.>", "sub $KV.>",
	"sub $KV.user.>", "sub $KV.own.>", "sub $KV.api.>", "sub $KV.access.>", "sub $KV.revoke.>", "sub $KV.ticket.>", "sub ctl.>", "sub _INBOX.>", "sub _INBOX_*.>", "sub $JS.ACK.>",
}

var roles = []rights{
	{
		user: "edge",
		allowed: []string{
			"dem.open", "dem.list", "feeds.n1", "sub hb.ing.*", "$JS.API.INFO", "$JS.API.STREAM.INFO.EV_market_v1", "$JS.API.DIRECT.GET.EV_market_v1",
			"$JS.API.STREAM.INFO.KV_api", "$JS.API.DIRECT.GET.KV_api.$KV.api.x", "$JS.API.CONSUMER.CREATE.KV_api.c.$KV.api.>",
			"$JS.API.CONSUMER.DELETE.KV_api.c", "$JS.FC.KV_api.x",
			"$JS.API.STREAM.INFO.KV_access", "$JS.API.CONSUMER.CREATE.KV_access.c.$KV.access.>", "$JS.API.CONSUMER.DELETE.KV_access.c",
			"$JS.API.STREAM.INFO.KV_revoke", "$JS.API.CONSUMER.CREATE.KV_revoke.c.$KV.revoke.>", "$JS.API.CONSUMER.DELETE.KV_revoke.c",
			"$KV.ticket.1", "$JS.API.STREAM.MSG.GET.KV_ticket", "rpc.oauth.token", "sub ctl.rev",
			"$JS.API.DIRECT.GET.KV_access.$KV.access.jwks",
			"sub live.market_v1.>", "sub live.market_v1.ticks", "sub bcn.market_v1.ticks", "sub _INBOX_edge.x.>",
		},
		forbidden: []string{
			"$JS.API.DIRECT.GET.KV_access.$KV.access.key.1", "$KV.access.jwks",
			"ctl.rev", "ctl.oauth", "sub ctl.oauth", "rpc.x", "$KV.access.key.1", "$KV.access.plan.AsyncGold", "$KV.revoke.jti.1", "$JS.API.STREAM.MSG.GET.KV_access",
			"$JS.API.STREAM.MSG.GET.KV_user", "$JS.API.CONSUMER.CREATE.KV_ticket.c.$KV.ticket.>", "$JS.API.STREAM.PURGE.KV_revoke",
			"$JS.API.STREAM.DELETE.KV_access", "$JS.API.STREAM.UPDATE.KV_revoke", "sub rpc.oauth.>", "sub rpc.oauth.token",
			"ev.market_v1.ticks", "ev.x", "bcn.market_v1.ticks", "hb.ing.n1", "hand.n1", "$KV.own.market_v1.ticks", "$KV.api.api.market.1",
			"$KV.user.user.admin", "$JS.API.STREAM.CREATE.EV_x", "$JS.API.STREAM.UPDATE.EV_market_v1", "$JS.API.STREAM.DELETE.EV_market_v1",
			"$JS.API.STREAM.PURGE.EV_market_v1", "$JS.API.STREAM.MSG.GET.EV_market_v1", "$JS.API.STREAM.MSG.DELETE.EV_market_v1",
			"$JS.API.STREAM.SNAPSHOT.EV_market_v1", "$JS.API.STREAM.RESTORE.EV_market_v1", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
			"$JS.API.STREAM.LEADER.STEPDOWN.EV_market_v1", "$JS.API.STREAM.PEER.REMOVE.EV_market_v1", "$JS.API.META.LEADER.STEPDOWN",
			"$JS.API.ACCOUNT.PURGE.SSE", "$JS.API.DIRECT.GET.KV_own", "$JS.API.DIRECT.GET.KV_own.$KV.own.market_v1.ticks",
			"$JS.API.DIRECT.GET.KV_user", "$JS.API.DIRECT.GET.KV_user.$KV.user.user.admin", "$JS.API.STREAM.INFO.KV_user",
			"$JS.API.CONSUMER.CREATE.EV_market_v1", "$JS.API.CONSUMER.CREATE.EV_market_v1.c.ev.market_v1.ticks",
			"$JS.API.CONSUMER.DURABLE.CREATE.EV_market_v1.c", "$JS.API.CONSUMER.CREATE.KV_own.c.$KV.own.>",
			"$JS.API.CONSUMER.CREATE.KV_user.c.$KV.user.>", "$JS.API.CONSUMER.MSG.NEXT.EV_market_v1.c", "$JS.API.CONSUMER.NAMES.EV_market_v1",
			"$JS.hub.API.STREAM.DELETE.EV_market_v1", "_INBOX_ing.x.1", "_INBOX_ctl.x.1", "_INBOX_edge.x.1",
			"sub dem.>", "sub dem.open", "sub feeds.n1", "sub hand.n1", "sub _INBOX_ing.>", "sub _INBOX_ctl.>", "sub $JS.EVENT.ADVISORY.>",
		},
	},
	{
		user: "ingest",
		allowed: []string{
			"ev.market_v1.ticks", "bcn.market_v1.ticks", "hb.ing.n1", "hand.n1", "$KV.own.market_v1.ticks", "$JS.API.INFO",
			"$JS.API.STREAM.INFO.EV_market_v1", "$JS.API.STREAM.MSG.GET.EV_market_v1", "$JS.API.STREAM.MSG.GET.KV_own",
			"$JS.API.DIRECT.GET.EV_market_v1", "$JS.API.DIRECT.GET.KV_own.$KV.own.market_v1.ticks",
			"$JS.API.CONSUMER.CREATE.KV_own.c.$KV.own.>", "$JS.API.CONSUMER.DELETE.KV_own.c", "$JS.FC.KV_own.x",
			"$JS.API.CONSUMER.CREATE.KV_api.c.$KV.api.>", "sub ctl.rev",
			"feeds.n1", "sub hb.ing.*", "sub dem.>", "sub dem.open", "sub dem.list", "sub hand.n1", "sub feeds.n1", "sub _INBOX_ing.x.>",
		},
		forbidden: []string{
			"ctl.rev", "ctl.oauth", "sub ctl.oauth", "rpc.oauth.token", "$KV.access.key.1", "$KV.revoke.jti.1", "$KV.ticket.1", "sub rpc.oauth.>",
			"$JS.API.STREAM.INFO.KV_access", "$JS.API.STREAM.INFO.KV_revoke", "$JS.API.STREAM.INFO.KV_ticket", "$JS.API.STREAM.INFO.KV_user",
			"$JS.API.CONSUMER.CREATE.KV_revoke.c.$KV.revoke.>", "$JS.API.CONSUMER.CREATE.KV_ticket.c.$KV.ticket.>",
			"dem.open", "dem.list", "$KV.api.api.market.1", "$KV.user.user.admin", "hb.edge.n1", "hb.x", "feeds", "feeds.a.b",
			"$JS.API.STREAM.CREATE.EV_x", "$JS.API.STREAM.UPDATE.EV_market_v1", "$JS.API.STREAM.DELETE.EV_market_v1",
			"$JS.API.STREAM.DELETE.KV_own", "$JS.API.STREAM.PURGE.EV_market_v1", "$JS.API.STREAM.PURGE.KV_own",
			"$JS.API.STREAM.MSG.DELETE.EV_market_v1", "$JS.API.STREAM.SNAPSHOT.EV_market_v1", "$JS.API.STREAM.RESTORE.EV_market_v1",
			"$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.LEADER.STEPDOWN.EV_market_v1",
			"$JS.API.STREAM.PEER.REMOVE.EV_market_v1", "$JS.API.META.LEADER.STEPDOWN",
			"$JS.API.STREAM.MSG.GET.KV_user", "$JS.API.STREAM.MSG.GET.KV_access", "$JS.API.STREAM.MSG.GET.KV_ticket",
			"$JS.API.STREAM.MSG.GET.KV_revoke", "$JS.API.DIRECT.GET.KV_user", "$JS.API.DIRECT.GET.KV_access",
			"$JS.API.DIRECT.GET.KV_ticket", "$JS.API.DIRECT.GET.KV_revoke", "$JS.API.DIRECT.GET.KV_access.$KV.access.key.1",
			"$JS.API.CONSUMER.CREATE.EV_market_v1", "$JS.API.CONSUMER.CREATE.EV_market_v1.c.ev.market_v1.ticks",
			"$JS.API.CONSUMER.CREATE.KV_user.c.$KV.user.>", "$JS.API.CONSUMER.CREATE.KV_access.c.$KV.access.>",
			"$JS.API.CONSUMER.DURABLE.CREATE.KV_own.c", "$JS.API.CONSUMER.MSG.NEXT.EV_market_v1.c",
			"$JS.hub.API.STREAM.DELETE.EV_market_v1", "_INBOX_edge.x.1", "_INBOX_ctl.x.1", "_INBOX_ing.x.1",
			"sub live.>", "sub live.market_v1.ticks", "sub bcn.>", "sub bcn.market_v1.ticks", "sub hand", "sub hand.a.b", "sub _INBOX_edge.>",
			"sub _INBOX_ctl.>", "sub $JS.EVENT.ADVISORY.>",
		},
	},
	{
		user: "control",
		allowed: []string{
			"$JS.API.INFO", "$JS.API.STREAM.CREATE.EV_x", "$JS.API.STREAM.UPDATE.EV_x", "$JS.API.STREAM.INFO.EV_x",
			"$JS.API.STREAM.PURGE.EV_x", "$JS.API.STREAM.DELETE.EV_x", "$JS.API.STREAM.LEADER.STEPDOWN.EV_market_v1", "$KV.api.api.market.1",
			"$KV.user.user.admin", "feeds.n1", "sub hb.ing.*", "sub $JS.EVENT.ADVISORY.>", "sub _INBOX_ctl.x.>",
			"$KV.access.key.1", "$KV.revoke.jti.1", "$KV.ticket.1", "ctl.rev", "ctl.oauth", "sub ctl.rev", "sub ctl.oauth", "sub rpc.oauth.>", "sub rpc.oauth.token",
		},
		forbidden: []string{
			"rpc.oauth.token",
			"ev.market_v1.ticks", "ev.x", "bcn.market_v1.ticks", "hb.ing.n1", "hand.n1", "dem.open", "dem.list", "$KV.own.market_v1.ticks",
			"_INBOX_edge.x.1", "_INBOX_ing.x.1", "_INBOX_ctl.x.1",
			"sub live.>", "sub live.market_v1.ticks", "sub bcn.>", "sub dem.>", "sub dem.open", "sub hb.>", "sub hand.n1", "sub feeds.n1",
			"sub _INBOX_edge.>", "sub _INBOX_ing.>",
		},
	},
	{
		user: "core",
		allowed: []string{
			"$JS.API.STREAM.CREATE.EV_x", "$JS.API.STREAM.DELETE.EV_x", "$KV.api.api.market.1", "$KV.user.user.admin", "$KV.own.market_v1.ticks",
			"ev.market_v1.ticks", "bcn.market_v1.ticks", "hb.ing.n1", "hand.n1", "$JS.API.STREAM.MSG.GET.EV_market_v1",
			"feeds.n1", "sub dem.>", "sub hb.ing.*", "sub hand.n1", "sub feeds.n1", "sub _INBOX_ctl.x.>",
			"$KV.access.key.1", "$KV.revoke.jti.1", "$KV.ticket.1", "ctl.rev", "ctl.oauth", "sub ctl.rev", "sub ctl.oauth", "sub rpc.oauth.>",
		},
		forbidden: []string{
			"rpc.oauth.token",
			"dem.open", "dem.list", "_INBOX_edge.x.1", "_INBOX_ing.x.1", "_INBOX_ctl.x.1",
			"sub live.>", "sub live.market_v1.ticks", "sub bcn.>", "sub hand", "sub hand.a.b", "sub _INBOX_edge.>", "sub _INBOX_ing.>",
		},
	},
}

// TestPermissions tries every subject of the table with the users of deploy/nats.
func TestPermissions(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := startServers(t, 1, k, "single.conf")
	for _, r := range roles {
		t.Run(r.user, func(t *testing.T) {
			forbidden := append(append([]string{}, everybody...), r.forbidden...)
			if len(forbidden) < 30 {
				t.Fatalf("only %d forbidden subjects are tried", len(forbidden))
			}
			u := login(t, s.URLs()[0], k.file[r.user])
			for _, what := range r.allowed {
				if err := u.try(what); err != nil {
					t.Errorf("%s needs %s: %v", r.user, what, err)
				}
			}
			for _, what := range forbidden {
				if err := u.try(what); !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("%s may %s (%v)", r.user, what, err)
				}
			}
		})
	}
}

// user is a connection of one user.
type user struct {
	t  *testing.T
	nc *nats.Conn
}

func login(t *testing.T, url, seed string) *user {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, key, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() { nc.Close(); <-closed })
	return &user{t, nc}
}

// try publishes, or subscribes if what begins with "sub ", and returns the server's refusal of that subject.
func (u *user) try(what string) error {
	u.t.Helper()
	subject, isSub := strings.CutPrefix(what, "sub ")
	if isSub {
		sub, err := u.nc.SubscribeSync(subject)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
	} else if err := u.nc.Publish(subject, []byte("{}")); err != nil {
		return err
	}
	if err := u.nc.FlushTimeout(10 * time.Second); err != nil { // a refusal comes before the answer to this
		u.t.Fatalf("%s: %v", what, err)
	}
	subject = strings.Replace(subject, "$JS.hub.API.", "$JS.API.", 1) // the server makes its own domain's name the short one
	verb := "publish to"
	if isSub {
		verb = "subscription to"
	}
	err := u.nc.LastError() // of the last refusal, which names its subject
	if err != nil && strings.Contains(strings.ToLower(err.Error()), verb+" \""+strings.ToLower(subject)+"\"") {
		return err
	}
	return nil
}
