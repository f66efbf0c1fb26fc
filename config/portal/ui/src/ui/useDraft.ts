import { useState } from 'react';

import { Refused } from '../api/client';
import { byField } from '../api/problem';

/**
 * useDraft keeps what was changed but not saved, beside what the server has. When the server's copy changes meanwhile, the draft stays and
 * stale says so: saving it would answer 412.
 */
export function useDraft<T>(saved: T, etag: string, fields: Record<string, string>) {
  const [draft, setDraft] = useState(saved);
  const [base, setBase] = useState({ etag, saved });
  const [error, setError] = useState<Error>();
  const dirty = JSON.stringify(draft) !== JSON.stringify(base.saved);
  if (etag !== base.etag && !dirty) {
    setBase({ etag, saved });
    setDraft(saved);
  }
  const told = error instanceof Refused ? byField(error.problem, fields) : { errors: {} as Record<string, string>, rest: error ? [error.message] : [] };
  return {
    draft,
    dirty,
    stale: etag !== base.etag && dirty,
    etag: base.etag,
    told,
    change: (next: T) => {
      setDraft(next);
      setError(undefined);
    },
    reset: () => {
      setBase({ etag, saved });
      setDraft(saved);
      setError(undefined);
    },
    save: async (how: (draft: T, etag: string) => Promise<unknown>) => {
      setError(undefined);
      try {
        await how(draft, base.etag);
        setBase({ etag: '', saved: draft }); // the next answer of the server is taken over
        return true;
      } catch (e) {
        setError(e as Error);
        return false;
      }
    },
  };
}
