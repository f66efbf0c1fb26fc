import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { json } from '@codemirror/lang-json';
import { yaml } from '@codemirror/lang-yaml';
import { bracketMatching, defaultHighlightStyle, foldGutter, indentUnit, syntaxHighlighting } from '@codemirror/language';
import { type Diagnostic, lintGutter, setDiagnostics } from '@codemirror/lint';
import { EditorState } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view';
import { useEffect, useRef } from 'react';

import type { Finding } from '../api/client';
import { nonce } from '../theme';

/** Editor edits a document; findings stand at their lines. Tab leaves it, as in any field. */
export function Editor({ text, format, findings, onChange, readOnly, label }: { text: string; format: 'yaml' | 'json'; findings: Finding[]; onChange?: (text: string) => void; readOnly?: boolean; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const changed = useRef(onChange);
  changed.current = onChange;
  useEffect(() => {
    const v = new EditorView({
      parent: place.current!,
      state: EditorState.create({
        doc: text,
        extensions: [
          EditorView.cspNonce.of(nonce),
          lineNumbers(),
          foldGutter(),
          lintGutter(),
          history(),
          drawSelection(),
          highlightActiveLine(),
          bracketMatching(),
          indentUnit.of('  '),
          syntaxHighlighting(defaultHighlightStyle, { fallback: true }),
          keymap.of([...defaultKeymap, ...historyKeymap]),
          format === 'json' ? json() : yaml(),
          EditorState.readOnly.of(!!readOnly),
          EditorView.contentAttributes.of({ 'aria-label': label }),
          EditorView.updateListener.of((u) => {
            if (u.docChanged) changed.current?.(u.state.doc.toString());
          }),
        ],
      }),
    });
    v.scrollDOM.tabIndex = 0; // what scrolls can be reached by keyboard
    view.current = v;
    return () => v.destroy();
    // A new format is a new editor; text only begins it.
  }, [format, readOnly, label]);
  useEffect(() => {
    const v = view.current;
    if (v && v.state.doc.toString() !== text) v.dispatch({ changes: { from: 0, to: v.state.doc.length, insert: text } });
  }, [text]);
  useEffect(() => {
    const v = view.current;
    if (!v) return;
    v.dispatch(
      setDiagnostics(
        v.state,
        findings.map((f): Diagnostic => {
          const line = v.state.doc.line(Math.min(Math.max(f.line ?? 1, 1), v.state.doc.lines));
          const from = Math.min(line.from + Math.max((f.column ?? 1) - 1, 0), line.to);
          return { from, to: Math.max(line.to, from), severity: f.level === 'warning' ? 'warning' : 'error', message: f.hint ? `${f.detail} (${f.hint})` : f.detail };
        }),
      ),
    );
  }, [findings]);
  return <div className="editor" ref={place} />;
}
