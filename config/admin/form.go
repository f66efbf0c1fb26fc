package admin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"sluice/config/catalog"
	"sluice/internal/doc"
	"sluice/internal/outbound"
	"sluice/internal/problem"
)

const (
	mediaForm = "multipart/form-data"
	maxForm   = maxImport + maxBody + 64<<10 // a file, a definition and what is between them
	maxURL    = 2048
)

// upload is what an import was sent: the body, or what a form or an address gave.
type upload struct {
	data  []byte
	media string
	// overlay is what the definition shall be instead; nil = nothing.
	overlay *doc.Document
}

// upload reads the body of an import. address is where the file is if the body does not hold it, "" = nowhere.
func (s *Server) upload(c echo.Context, address string) (upload, error) {
	media, _, _ := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	var u upload
	var err error
	given := address != ""
	if media == mediaForm {
		var form formParts
		if form, err = readForm(c); err != nil {
			return upload{}, err
		}
		if form.url != "" && given {
			return upload{}, wrongPart("url", "cannot go with the parameter of that name")
		}
		if form.url != "" {
			address = form.url
		}
		u = form.upload
	} else if u.data, u.media, err = readBody(c, maxImport); err != nil {
		return upload{}, err
	}
	switch {
	case address == "":
		return u, nil
	case u.data != nil && media == mediaForm:
		return upload{}, wrongPart("url", "cannot go with a file")
	case len(u.data) > 0:
		return upload{}, &problem.Error{Kind: problem.InvalidQuery, Errors: []problem.Part{{Parameter: "url", Reason: "cannot go with a body"}}}
	}
	if u.data, err = s.fetch(c, address); err != nil {
		return upload{}, err
	}
	u.media = mediaOf("", address, u.data)
	return u, nil
}

// fetch gets a file by its address.
func (s *Server) fetch(c echo.Context, address string) ([]byte, error) {
	if s.reach == nil || s.noImport {
		return nil, &problem.Error{Kind: problem.Forbidden, Detail: "Documents are not fetched here (control.importURL); send the file."}
	}
	data, err := outbound.Fetch(c.Request().Context(), s.reach, address, maxImport)
	if errors.Is(err, outbound.ErrTooLarge) {
		return nil, problem.Kind("document-too-large")
	}
	if err != nil {
		return nil, &problem.Error{Kind: "import-fetch-failed", Detail: "The document could not be fetched from its address.", Err: err}
	}
	return data, nil
}

// formParts are the parts of a form.
type formParts struct {
	upload
	url string
}

// partMost is how long the parts of a form may be, by name.
func partMost(name string) int64 {
	switch name {
	case "file":
		return maxImport
	case "api":
		return maxBody
	case "url":
		return maxURL
	}
	return 0
}

// readForm reads a form part by part.
func readForm(c echo.Context) (formParts, error) {
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, maxForm)
	parts, err := r.MultipartReader()
	if err != nil {
		return formParts{}, &problem.Error{Kind: problem.Invalid, Detail: "The form has no usable boundary.", Err: err}
	}
	var f formParts
	var seen []string
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return formParts{}, brokenForm(err)
		}
		name := p.FormName()
		switch {
		case partMost(name) == 0:
			return formParts{}, wrongPart(name, "is not a part of this form: there are file, url and api")
		case slices.Contains(seen, name):
			return formParts{}, wrongPart(name, "is there more than once")
		}
		seen = append(seen, name)
		if err := f.take(name, p); err != nil {
			return formParts{}, err
		}
	}
}

// take reads one part.
func (f *formParts) take(name string, p *multipart.Part) error {
	most := partMost(name)
	data, err := io.ReadAll(io.LimitReader(p, most+1))
	if err != nil {
		return brokenForm(err)
	}
	if int64(len(data)) > most {
		return &problem.Error{Kind: "document-too-large", Detail: fmt.Sprintf("Part %s has more than %d bytes.", name, most)}
	}
	switch name {
	case "file":
		f.data, f.media = append([]byte{}, data...), mediaOf(p.Header.Get(echo.HeaderContentType), p.FileName(), data)
	case "url":
		f.url = strings.TrimSpace(string(data))
	case "api":
		f.overlay, err = overlayOf(data)
	}
	return err
}

func brokenForm(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problem.BodyTooLarge
	}
	return &problem.Error{Kind: problem.Invalid, Detail: "The form ended early or is broken.", Err: err}
}

func wrongPart(name, reason string) error {
	return &problem.Error{Kind: "invalid-document", Errors: []problem.Part{{Parameter: clipped(name, 64), Reason: reason}}}
}

// mediaOf tells what a file is: by its media type or name if they say so, else by its first bytes.
func mediaOf(told, name string, data []byte) string {
	told, _, _ = mime.ParseMediaType(told)
	switch told {
	case mediaJSON, mediaYAML, mediaZip:
		return told
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".json":
		return mediaJSON
	case ".yaml", ".yml":
		return mediaYAML
	case ".zip":
		return mediaZip
	}
	switch start := bytes.TrimLeft(data[:min(len(data), 512)], " \t\r\n"); {
	case bytes.HasPrefix(data, []byte("PK")):
		return mediaZip
	case bytes.HasPrefix(start, []byte("{")):
		return mediaJSON
	}
	return mediaYAML
}

// overlayOf reads the part of a definition that is laid over another one.
func overlayOf(data []byte) (*doc.Document, error) {
	name := "api.yaml"
	if mediaOf("", "", data) == mediaJSON {
		name = "api.json"
	}
	docs, err := doc.Parse(name, data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 || docs[0].Root.Kind != doc.Map {
		return nil, doc.Errors{{File: name, Type: "invalid-document", Message: "must be one object, of the fields that shall be different"}}
	}
	if problems := docs[0].Problems(); len(problems) > 0 {
		return nil, problems
	}
	return docs[0], nil
}

// said returns the text at a pointer of the overlay, else otherwise.
func (u *upload) said(pointer, otherwise string) string {
	if u.overlay == nil {
		return otherwise
	}
	return cmp.Or(textAt(u.overlay, pointer), otherwise)
}

// over lays the overlay over the definition of an API: objects field by field, null takes a field away, all else takes its place.
func (u *upload) over(api *catalog.API) (catalog.Source, error) {
	tree, err := api.Definition()
	if err != nil {
		return catalog.Source{}, err
	}
	if u.overlay != nil {
		tree = laidOver(tree, u.overlay.Root)
	}
	text, err := doc.WriteJSON(tree)
	return catalog.Source{Name: bodyJSON, Data: text}, err
}

// laidOver is a merge patch of two trees (RFC 7396), which stay as they are. Their depth is bounded by the parser.
func laidOver(under, over *doc.Node) *doc.Node {
	if over.Kind != doc.Map || under == nil || under.Kind != doc.Map {
		return over
	}
	out := *under
	out.Fields = nil
	for _, f := range under.Fields {
		switch patch := over.Get(f.Key); {
		case patch == nil:
			out.Fields = append(out.Fields, f)
		case patch.Kind != doc.Null:
			f.Value = laidOver(f.Value, patch)
			out.Fields = append(out.Fields, f)
		}
	}
	for _, f := range over.Fields {
		if under.Get(f.Key) == nil && f.Value.Kind != doc.Null {
			out.Fields = append(out.Fields, f)
		}
	}
	return &out
}
