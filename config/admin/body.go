package admin

import (
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"sluice/internal/doc"
	"sluice/internal/problem"
)

const (
	maxBody   = 1 << 20
	maxImport = 4 << 20
)

const (
	mediaJSON = "application/json"
	mediaYAML = "application/yaml"
	mediaZip  = "application/zip"
)

// readBody returns the whole body and its media type. A longer one is refused, with the connection.
func readBody(c echo.Context, most int64) (data []byte, media string, err error) {
	r := c.Request()
	media, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type"))
	data, err = io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, most))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, "", problem.BodyTooLarge
	}
	if err != nil {
		return nil, "", &problem.Error{Kind: problem.Invalid, Detail: "The body ended early.", Err: err}
	}
	return data, media, nil
}

// parse reads bytes of a media type as one document.
func parse(data []byte, media string) (*doc.Document, error) {
	if media == mediaJSON {
		return doc.ParseJSON("", data)
	}
	docs, err := doc.ParseYAML("", data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, doc.Errors{{Type: doc.TypeInvalidYAML, Message: "must be exactly one document"}}
	}
	return docs[0], nil
}

// decode reads a small body into a generated type: names and types by our decoder, the rest as the document says. A body that may be
// left out, and is, leaves into as it was.
func (s *Server) decode(c echo.Context, into any) error {
	_, err := s.decodeAt(c, into)
	return err
}

// decodeAt is decode; it returns the document too, for the positions of what else may be wrong: nil if there was no body.
func (s *Server) decodeAt(c echo.Context, into any) (*doc.Document, error) {
	op := s.contract.find(c.Request().Method, c.Path())
	data, media, err := readBody(c, maxBody)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 && !op.def.RequestBody.Value.Required {
		return nil, nil
	}
	if media == "" {
		return nil, &problem.Error{Kind: problem.UnsupportedMediaType, Detail: "Send " + mediaJSON + "."}
	}
	d, err := parse(data, media)
	if err != nil {
		return nil, err
	}
	return d, decodeBy(d, op.def.RequestBody.Value.Content[media].Schema.Value, into)
}

// decodeBy reads a document into a type, and checks it by a schema.
func decodeBy(d *doc.Document, schema *openapi3.Schema, into any) error {
	if err := d.Decode(into); err != nil {
		return err
	}
	var value any
	if err := d.Decode(&value); err != nil {
		return err
	}
	return checkSchema(d, schema, value)
}

// checkSchema tells what the schema has against a value, with the positions of the document.
func checkSchema(d *doc.Document, schema *openapi3.Schema, value any) error {
	err := schema.VisitJSON(plain(value), openapi3.MultiErrors())
	if err == nil {
		return nil
	}
	var errs doc.Errors
	var collect func(error)
	collect = func(err error) {
		var many openapi3.MultiError
		var one *openapi3.SchemaError
		switch {
		case errors.As(err, &many):
			for _, e := range many {
				collect(e)
			}
		case errors.As(err, &one):
			pointer := ""
			for _, key := range one.JSONPointer() {
				pointer = doc.Join(pointer, key)
			}
			errs = append(errs, d.Errorf(pointer, "%s", one.Reason))
		default:
			errs = append(errs, d.Errorf("", "is not as the document says"))
		}
	}
	collect(err)
	return errs.Err()
}

// plain has the numbers of a value as encoding/json would give them, which is what the validator knows.
func plain(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}
