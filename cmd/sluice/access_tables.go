package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// metadata is the name of a definition.
type metadata struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
	Description string `json:"description"`
	Owner       string `json:"owner"`
}

// planDefinition and the types below are the definitions as verbs show them.
type planDefinition struct {
	Metadata metadata
	Spec     struct {
		Quota struct {
			Events int64
			Every  int
			Unit   string
		}
		Rate struct {
			Events int
			Per    string
		}
		Connections      struct{ PerSubscription, PerKey int }
		Enforce          bool
		RequiresApproval bool
	}
}

// quota is the quota in words.
func (p *planDefinition) quota() string {
	q := p.Spec.Quota
	if q.Events == 0 {
		return "unlimited"
	}
	per := q.Unit
	if q.Every > 1 {
		per = fmt.Sprintf("%d %ss", q.Every, q.Unit)
	}
	text := fmt.Sprintf("%d per %s", q.Events, per)
	if !p.Spec.Enforce {
		text += ", only counted"
	}
	return text
}

func planTable(w io.Writer, a answer) error {
	var list struct{ Items []planDefinition }
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "PLAN", "EVENTS", "CONNECTIONS", "RATE", "APPROVAL", "DESCRIPTION")
	for _, p := range list.Items {
		rate, approval := "", ""
		if p.Spec.Rate.Events > 0 {
			rate = fmt.Sprintf("%d per %s", p.Spec.Rate.Events, p.Spec.Rate.Per)
		}
		if p.Spec.RequiresApproval {
			approval = "needed"
		}
		connections := "unlimited"
		if n := p.Spec.Connections.PerSubscription; n > 0 {
			connections = strconv.Itoa(n)
		}
		row(t, p.Metadata.Name, p.quota(), connections, rate, approval, p.Metadata.Description)
	}
	return t.Flush()
}

type applicationDefinition struct {
	Metadata metadata
	Spec     struct {
		State, Plan string
		Clients     []struct{ Issuer, ID string }
	}
	Status struct {
		ID                  string
		Secret              bool
		Keys, Subscriptions int
		CreatedAt           time.Time
	}
}

func applicationTable(w io.Writer, a answer) error {
	var list struct{ Items []applicationDefinition }
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "APP", "ID", "OWNER", "STATE", "KEYS", "SUBSCRIPTIONS", "CREATED")
	for _, d := range list.Items {
		row(t, d.Metadata.Name, d.Status.ID, d.Metadata.Owner, d.Spec.State, strconv.Itoa(d.Status.Keys), strconv.Itoa(d.Status.Subscriptions), when(d.Status.CreatedAt))
	}
	return t.Flush()
}

type subscription struct {
	Spec struct {
		Application, API, Version, Plan, State string
		Topics                                 []string
		Expires                                time.Time
	}
	Status struct {
		ID, Owner string
		CreatedAt time.Time
	}
}

func subscriptionTable(w io.Writer, a answer) error {
	var list struct{ Items []subscription }
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "SUBSCRIPTION", "APP", "OWNER", "API", "PLAN", "STATE", "TOPICS", "EXPIRES")
	for _, s := range list.Items {
		topics := strings.Join(s.Spec.Topics, ",")
		if topics == "" {
			topics = "all"
		}
		row(t, s.Status.ID, s.Spec.Application, s.Status.Owner, s.Spec.API+"@"+s.Spec.Version, s.Spec.Plan, s.Spec.State, topics, when(s.Spec.Expires))
	}
	return t.Flush()
}

func keyTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			ID, Name, State    string
			Expires, CreatedAt time.Time
			AllowedIPs         []string
			AllowedOrigins     []string
			Topics             []string
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "KEY", "NAME", "STATE", "FROM", "TOPICS", "CREATED", "EXPIRES")
	for _, k := range list.Items {
		from, topics := strings.Join(slices.Concat(k.AllowedIPs, k.AllowedOrigins), ","), strings.Join(k.Topics, ",")
		if from == "" {
			from = "anywhere"
		}
		if topics == "" {
			topics = "all"
		}
		row(t, k.ID, k.Name, k.State, from, topics, when(k.CreatedAt), when(k.Expires))
	}
	return t.Flush()
}

func denyTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			ID, Kind, Value, Reason, By string
			Until                       time.Time
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "DENY", "WHAT", "VALUE", "UNTIL", "BY", "REASON")
	for _, d := range list.Items {
		row(t, d.ID, d.Kind, d.Value, when(d.Until), d.By, d.Reason)
	}
	return t.Flush()
}

func revocationTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			Kind, Issuer, Value, Reason, By string
			Before, Until                   time.Time
			Hard                            bool
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "REVOKED", "ISSUER", "VALUE", "ISSUED BEFORE", "BY", "REASON")
	for _, r := range list.Items {
		row(t, r.Kind, r.Issuer, r.Value, when(r.Before), r.By, r.Reason)
	}
	return t.Flush()
}

func devTable(w io.Writer, a answer) error {
	var list struct {
		Items []struct {
			ID, DisplayName, State, BasePath string
			URLs                             []string `json:"urls"`
			Plans                            []string
			Topics                           []struct{ Name string }
		}
	}
	if err := a.into(&list); err != nil {
		return err
	}
	t := columns(w, "API", "STATE", "TOPICS", "PLANS", "URL")
	for _, d := range list.Items {
		at := d.BasePath
		if len(d.URLs) > 0 {
			at = d.URLs[len(d.URLs)-1]
		}
		row(t, d.ID, d.State, strconv.Itoa(len(d.Topics)), strings.Join(d.Plans, ","), at)
	}
	return t.Flush()
}
