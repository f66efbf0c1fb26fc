package admin

import (
	"embed"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/problem"
)

// snippetFiles are programs with holes: @URL@, @HEADER@, @NAMES@ (of events, in single quotes) and what stands between @secured{ and @} only if the topic needs a credential,
// between @open{ and @} only if not.
//
//go:embed snippets
var snippetFiles embed.FS

// snippets are the programs, in the order in which they are shown.
var snippets = []struct {
	lang        Lang
	title, file string
}{
	{"curl", "curl", "curl.sh"},
	{"eventsource", "JavaScript, EventSource", "eventsource.js"},
	{"fetch", "JavaScript, fetch", "fetch.mjs"},
	{"python", "Python", "python.py"},
	{"go", "Go", "go.go.txt"},
	{"java", "Java", "java.java"},
}

// ListPublicTopics implements ServerInterface.
func (s *Server) ListPublicTopics(c echo.Context, id ID) error {
	r, err := s.findPublic(c, id)
	if err != nil {
		return err
	}
	topics := s.publicOf(r).Topics
	return answer(c, http.StatusOK, PublicTopicList{Items: topics, Total: len(topics)})
}

// ListPublicPlans implements ServerInterface.
func (s *Server) ListPublicPlans(c echo.Context, id ID) error {
	r, err := s.findPublic(c, id)
	if err != nil {
		return err
	}
	snap, out := s.access.Snapshot(), PlanList{Items: []PlanDefinition{}}
	for _, name := range r.API.Spec.Plans {
		if p := snap.Plan(name); p != nil {
			out.Items = append(out.Items, planOf(p))
		}
	}
	out.Total = len(out.Items)
	return answer(c, http.StatusOK, out)
}

// ListSnippets implements ServerInterface.
func (s *Server) ListSnippets(c echo.Context, id ID, params ListSnippetsParams) error {
	r, err := s.findPublic(c, id)
	if err != nil {
		return err
	}
	a := s.served(r)
	topic := &a.Spec.Topics[0] // what is served has one
	if params.Topic != "" {
		if topic = a.Topic(params.Topic); topic == nil {
			return problem.NotFound
		}
	}
	out := SnippetList{Items: []Snippet{}, Topic: topic.Name, URL: addressOf(s.edgeURL(r), a, topic)}
	for _, one := range snippets {
		if params.Lang != "" && params.Lang != one.lang {
			continue
		}
		code, err := fillSnippet(one.file, out.URL, a.Spec.Auth.APIKeyHeader, namesOf(topic), topic.Security != catalog.SecurityNone)
		if err != nil {
			return err
		}
		out.Items = append(out.Items, Snippet{Lang: one.lang, Title: one.title, Code: code})
	}
	out.Total = len(out.Items)
	return answer(c, http.StatusOK, out)
}

// edgeURL is where clients reach an API, https before http; of none that is known, a path.
func (s *Server) edgeURL(r *catalog.Record) string {
	best := r.API.BasePath()
	for _, u := range r.URLs(s.options.Public) {
		if strings.HasPrefix(u, "https:") {
			return u
		}
		if strings.HasPrefix(best, "/") {
			best = u
		}
	}
	return best
}

// topicHole is a part of a topic's name that stands for values.
var topicHole = regexp.MustCompile(`\{(\w+)\}|\*$`)

// addressOf is where a topic is read. Of a template the values are examples where the definition has some; a wildcard stands for a path.
func addressOf(base string, a *catalog.API, t *catalog.Topic) string {
	path := topicHole.ReplaceAllStringFunc(t.Name, func(hole string) string {
		if hole == "*" {
			return "PATH"
		}
		name := strings.Trim(hole, "{}")
		p := t.Params[name]
		for _, list := range [][]string{p.Examples, p.Enum} {
			if len(list) > 0 {
				return url.PathEscape(list[0])
			}
		}
		return strings.ToUpper(name)
	})
	query := url.Values{}
	for _, q := range queryOf(a, t) {
		if q.Required {
			value := q.Default
			if value == "" {
				value = "VALUE"
			}
			query.Set(q.Name, value)
		}
	}
	address := strings.TrimSuffix(base, "/") + path
	if path == "/" {
		address = base
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	return address
}

// namesOf lists what the events of a topic may be called: events without a name are messages.
func namesOf(t *catalog.Topic) string {
	names := []string{"'message'"}
	for i := range t.Messages {
		if name := "'" + quotable(t.Messages[i].Name) + "'"; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// fillSnippet fills the holes of a program.
func fillSnippet(file, address, header, names string, secured bool) (string, error) {
	text, err := snippetFiles.ReadFile("snippets/" + file)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	keep := true
	for line := range strings.Lines(string(text)) {
		switch strings.TrimLeft(strings.TrimSpace(line), "#/ ") {
		case "@secured{":
			keep = secured
		case "@open{":
			keep = !secured
		case "@}":
			keep = true
		default:
			if keep {
				out.WriteString(line)
			}
		}
	}
	return strings.NewReplacer("@URL@", quotable(address), "@HEADER@", header, "@NAMES@", names).Replace(out.String()), nil
}

// quotable is an address that may stand between quotes of any kind, in every language here: what could end them is escaped.
func quotable(address string) string {
	return strings.NewReplacer("'", "%27", `"`, "%22", `\`, "%5C", "$", "%24", "`", "%60", "\n", "", "\r", "").Replace(address)
}
