import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';

import { Source } from './source';

const names = ['ready', 'changed', 'deleted', 'reset'];
const watched = {
  apis: { source: new Source('/api/v1/watch', names), keys: ['apis'] },
  plans: { source: new Source('/api/v1/watch?kinds=Plan,Subscription,Application', names), keys: ['plans', 'subscriptions', 'applications'] },
};
const together = 300; // ms

/** useChanges asks again for what is known of APIs, or of plans and who has them, whenever one of them changes, wherever that was done. */
export function useChanges(enabled: boolean, of: keyof typeof watched = 'apis') {
  const queries = useQueryClient();
  useEffect(() => {
    if (!enabled) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { source, keys } = watched[of];
    const ask = () => {
      timer = undefined;
      for (const key of keys) void queries.invalidateQueries({ queryKey: [key] });
    };
    const stop = source.listen((told) => {
      if (told) timer ??= setTimeout(ask, together);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [enabled, of, queries]);
}
