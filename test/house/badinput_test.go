package house

import (
	"cmp"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sluice/test/badinput"
)

// TestBadInputIsComplete wants every number of the contract's tables to be a case of test/badinput or to stand under later
// with a reason, not both, and every case to assert something.
func TestBadInputIsComplete(t *testing.T) {
	for _, s := range badinput.Surfaces {
		f, err := badinput.Load(filepath.Join(root, "test", "badinput"), s.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, wrong := range badInputFaults(s, f) {
			t.Errorf("test/badinput/%s.yaml: %s", s.Name, wrong)
		}
	}
}

// TestBadInputRuleFails shows that the rule finds what it is for.
func TestBadInputRuleFails(t *testing.T) {
	s := badinput.Surface{Name: "edge", Letter: "D", Last: 2}
	one := badinput.Case{ID: "D1", Want: badinput.Want{Status: 404}}
	later := map[string]string{"D2": "why"}
	for name, f := range map[string]*badinput.File{
		"a number is missing":              {Cases: []badinput.Case{one}},
		"a number is a case and later":     {Cases: []badinput.Case{one}, Later: map[string]string{"D1": "why", "D2": "why"}},
		"an id is there twice":             {Cases: []badinput.Case{one, one}, Later: later},
		"a case asserts nothing":           {Cases: []badinput.Case{{ID: "D1"}}, Later: later},
		"a number is not the contract's":   {Cases: []badinput.Case{one, {ID: "D3", Want: one.Want}}, Later: later},
		"later has no reason":              {Cases: []badinput.Case{one}, Later: map[string]string{"D2": ""}},
		"later has a number of nobody":     {Cases: []badinput.Case{one}, Later: map[string]string{"D2": "why", "D9": "why"}},
		"partly is about a number without": {Cases: []badinput.Case{one}, Later: later, Partly: map[string]string{"D2": "why"}},
	} {
		if len(badInputFaults(s, f)) == 0 {
			t.Errorf("not found: %s", name)
		}
	}
	if wrong := badInputFaults(s, &badinput.File{Cases: []badinput.Case{one}, Later: later}); len(wrong) > 0 {
		t.Errorf("found in a good file: %v", wrong)
	}
}

// badInputFaults says what is wrong with a surface's cases.
func badInputFaults(s badinput.Surface, f *badinput.File) (wrong []string) {
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	form := regexp.MustCompile(`^(` + s.Letter + `|` + cmp.Or(s.Own, s.Letter) + `)([1-9][0-9]?)[a-z]?$`)
	ids, numbers, known := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range f.Cases {
		m := form.FindStringSubmatch(c.ID)
		if m == nil {
			add("case %q: want %s and a number", c.ID, s.Letter)
			continue
		}
		if n, _ := strconv.Atoi(m[2]); m[1] == s.Letter && n > s.Last {
			add("case %s: the contract ends at %s%d", c.ID, s.Letter, s.Last)
		}
		if ids[c.ID] {
			add("case %s is there twice", c.ID)
		}
		if reflect.DeepEqual(c.Want, badinput.Want{}) {
			add("case %s asserts nothing", c.ID)
		}
		ids[c.ID], numbers[m[1]+m[2]] = true, true
	}
	for n := 1; n <= s.Last; n++ {
		id := s.Letter + strconv.Itoa(n)
		why, later := f.Later[id]
		switch {
		case later == numbers[id] && later:
			add("%s is a case and stands under later", id)
		case later == numbers[id]:
			add("%s is neither a case nor stands under later", id)
		case later && strings.TrimSpace(why) == "":
			add("%s stands under later without a reason", id)
		}
		known[id] = true
	}
	for id := range f.Later {
		if !known[id] {
			add("%s under later is no number of the contract", id)
		}
	}
	for id, why := range f.Partly {
		if !numbers[id] || strings.TrimSpace(why) == "" {
			add("%s under partly has no case, or no reason", id)
		}
	}
	return wrong
}
