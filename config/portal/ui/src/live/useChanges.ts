import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';

import { Source } from './source';

const changes = new Source('/api/v1/watch', ['ready', 'changed', 'deleted', 'reset']);
const together = 300; // ms

/** useChanges asks again for what is known of APIs whenever one of them changes, wherever that was done. */
export function useChanges(enabled: boolean) {
  const queries = useQueryClient();
  useEffect(() => {
    if (!enabled) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = changes.listen((told) => {
      if (told) timer ??= setTimeout(() => ((timer = undefined), void queries.invalidateQueries({ queryKey: ['apis'] })), together);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [enabled, queries]);
}
