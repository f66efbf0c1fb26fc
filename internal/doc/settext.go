package doc

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// SetText sets v, a settable value, from one text as it stands in an environment variable or a flag: a scalar as it is written in
// a document without quotes, a list as its elements with commas between them. An empty text is an empty list or string.
func SetText(v reflect.Value, text string) error {
	if isText(v) {
		return setText(v, text)
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%s is not true or false", quote(text))
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%s is not a whole number in range", quote(text))
		}
		v.SetInt(i)
	case reflect.Slice:
		return setList(v, text)
	default:
		return fmt.Errorf("cannot be set from one text")
	}
	return nil
}

func setList(v reflect.Value, text string) error {
	out := reflect.MakeSlice(v.Type(), 0, 4)
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		e := fresh(v.Type().Elem()).Elem()
		if err := SetText(e, part); err != nil {
			return err
		}
		out = reflect.Append(out, e)
	}
	v.Set(out)
	return nil
}
