package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"sluice/config/catalog"
	"sluice/internal/doc"
)

// newSet changes single fields of an API.
func newSet(e env) *cobra.Command {
	c := &cobra.Command{
		Use:   "set ID FIELD=VALUE...",
		Short: "Change fields of an API: read it, change it, write it back if nobody else did meanwhile",
		Long: "set takes the fields of spec by their path, such as client.retry=3s, and those of metadata with that word before them.\n" +
			"Lists have commas between their elements; an empty value takes a field out, so that it has its default again.",
		Example: "  sluice set ServerSentEvents@1.0.0 transports=https\n  sluice set market@1.0.0 endpoint=https://feed.example retention.maxAge=2h metadata.tags=quotes,live",
		Args:    cobra.MinimumNArgs(2),
	}
	f := addOutput(c)
	dryRun := addDryRun(c)
	ids := completeIDs(e, f, 1)
	c.ValidArgsFunction = func(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return ids(c, args, begun)
		}
		return settable(begun), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := f.client(e)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(c.Context(), e)
		defer stop()
		a, err := cl.set(ctx, args[0], args[1:], *dryRun)
		if err != nil {
			return err
		}
		return withCode(exitFailed, f.show(e.stdout, a, changed("changed", args[0])))
	}
	return c
}

// set reads an API, changes fields of it and writes it back on the condition that it is still the one that was read.
func (c *remote) set(ctx context.Context, id string, fields []string, how writeFlags) (answer, error) {
	definition, etag, err := c.get(ctx, id)
	if err != nil {
		return answer{}, err
	}
	for _, f := range fields {
		path, value, ok := strings.Cut(f, "=")
		if !ok {
			return answer{}, withCode(exitUsage, fmt.Errorf("%q is not FIELD=VALUE", f))
		}
		if err := setField(definition, path, value); err != nil {
			return answer{}, withCode(exitUsage, fmt.Errorf("%s: %w", path, err))
		}
	}
	return c.put(ctx, id, definition, etag, how)
}

// put writes a definition in the place of the one with that ETag.
func (c *remote) put(ctx context.Context, id string, definition *doc.Node, etag string, how writeFlags) (answer, error) {
	remove(definition, "status")
	body, err := doc.WriteJSON(definition)
	if err != nil {
		return answer{}, withCode(exitFailed, err)
	}
	return c.do(ctx, dry(call{method: http.MethodPut, path: apiPath(id), body: body, ifMatch: etag}, how))
}

// get reads an API's definition with its ETag.
func (c *remote) get(ctx context.Context, id string) (*doc.Node, string, error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: apiPath(id)})
	if err != nil {
		return nil, "", err
	}
	n, err := a.node()
	if err != nil {
		return nil, "", withCode(exitFailed, err)
	}
	return n, a.etag, nil
}

func remove(n *doc.Node, key string) {
	var kept []doc.Field
	for _, f := range n.Fields {
		if f.Key != key {
			kept = append(kept, f)
		}
	}
	n.Fields = kept
}

// fieldPath is where a path of set leads in a definition.
func fieldPath(path string) []string {
	parts := strings.Split(path, ".")
	if parts[0] != "metadata" && parts[0] != "spec" {
		parts = append([]string{"spec"}, parts...)
	}
	return parts
}

// setField sets one field of a definition from its text; an empty text takes it out.
func setField(definition *doc.Node, path, value string) error {
	parts := fieldPath(path)
	typ, err := fieldType(parts)
	if err != nil {
		return err
	}
	at := definition
	for _, key := range parts[:len(parts)-1] {
		next := at.Get(key)
		if next == nil || next.Kind != doc.Map {
			next = &doc.Node{Kind: doc.Map}
			putField(at, key, next)
		}
		at = next
	}
	last := parts[len(parts)-1]
	if value == "" {
		remove(at, last)
		return nil
	}
	v := reflect.New(typ).Elem()
	if err := doc.SetText(v, value); err != nil {
		return err
	}
	n, err := doc.NodeOf(v.Interface())
	if err != nil {
		return err
	}
	putField(at, last, n)
	return nil
}

func putField(n *doc.Node, key string, value *doc.Node) {
	remove(n, key)
	n.Fields = append(n.Fields, doc.Field{Key: key, Value: value})
}

// fieldType is the type of the field at a path of a definition; the keys of maps are free.
func fieldType(parts []string) (reflect.Type, error) {
	typ := reflect.TypeFor[catalog.API]()
	for _, key := range parts {
		switch typ.Kind() {
		case reflect.Map:
			typ = typ.Elem()
			continue
		case reflect.Struct:
		default:
			return nil, errors.New("leads into a value that has no fields")
		}
		field, ok := fieldOf(typ, key)
		if !ok {
			if near := doc.Nearest(key, doc.Keys(typ)); near != "" {
				return nil, fmt.Errorf("unknown field; did you mean %q?", near)
			}
			return nil, errors.New("unknown field; known here: " + strings.Join(doc.Keys(typ), ", "))
		}
		typ = field.Type
	}
	return typ, nil
}

func fieldOf(typ reflect.Type, key string) (reflect.StructField, bool) {
	for i := range typ.NumField() {
		if f := typ.Field(i); doc.Key(f) == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// settable are the fields that begin as begun, for completion.
func settable(begun string) []cobra.Completion {
	var out []cobra.Completion
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := doc.Key(f)
			switch {
			case key == "":
			case f.Type.Kind() == reflect.Struct:
				walk(prefix+key+".", f.Type)
			case f.Type.Kind() != reflect.Map && strings.HasPrefix(prefix+key, begun):
				out = append(out, prefix+key+"=")
			}
		}
	}
	walk("", reflect.TypeFor[catalog.Spec]())
	walk("metadata.", reflect.TypeFor[catalog.Metadata]())
	return out
}
