package wso2

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/doc"
)

// secretKey tells keys whose values are secrets wherever they stand.
var secretKey = regexp.MustCompile(`(?i)passw|passphrase|secret|api_?key_?value|(access|private|secret)_?key|credential|token$|^authorization$|^cookie$`)

// secretValue tells texts that hold a secret: a URL with a user, or the value of an Authorization header.
var secretValue = regexp.MustCompile(`(?i)://[^/?#\s"]*@|^\s*(basic|bearer)\s+\S+\s*$`)

// clean is n without secrets: where one stood, there is an empty text. name is the key that n stands under, told the values that were
// taken out.
func clean(n *doc.Node, name string, told func(*doc.Node)) *doc.Node {
	if secretKey.MatchString(name) && n.Kind != doc.Bool && !empty(n) {
		told(n)
		return &doc.Node{Kind: doc.String, Line: n.Line, Column: n.Column}
	}
	out := *n
	switch n.Kind {
	case doc.String:
		if secretValue.MatchString(n.Text) || encodedSecret(n.Text) {
			told(n)
			out.Text = ""
		}
	case doc.Number:
		if !json.Valid([]byte(n.Text)) { // as only YAML writes numbers
			out.Kind = doc.String
		}
	case doc.List:
		out.Items = nil
		for _, item := range n.Items {
			out.Items = append(out.Items, clean(item, "", told))
		}
	case doc.Map:
		named := namesSecret(n)
		out.Fields = nil
		for _, f := range n.Fields {
			key := f.Key
			if named && strings.HasSuffix(strings.ToLower(key), "value") {
				key = "secret"
			}
			f.Value = clean(f.Value, key, told)
			out.Fields = append(out.Fields, f)
		}
	}
	return &out
}

// encodedSecret tells texts that are documents of their own with a secret in them.
func encodedSecret(s string) bool {
	s = strings.TrimSpace(s)
	return (strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") || strings.HasPrefix(s, "<")) && secretKey.MatchString(s)
}

// nameKeys are the keys that name what a neighbour is the value of.
var nameKeys = []string{"name", "key", "headername", "parametername"}

// namesSecret tells maps such as {name: dbPassword, value: …}, whose value is a secret.
func namesSecret(n *doc.Node) bool {
	return slices.ContainsFunc(n.Fields, func(f doc.Field) bool {
		return slices.Contains(nameKeys, strings.ToLower(f.Key)) && f.Value.Kind == doc.String && secretKey.MatchString(strings.ReplaceAll(f.Value.Text, "-", ""))
	})
}
