import createClient from 'openapi-fetch';

import { type Problem, problemOf } from './problem';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];
export type API = Schemas['API'];
export type APISummary = Schemas['APISummary'];
export type Topic = Schemas['Topic'];
export type Me = Schemas['Me'];
export type Role = Schemas['Role'];
export type Finding = Schemas['Finding'];
export type PublicAPI = Schemas['PublicAPI'];
export type Action = Schemas['Action'];

/** The management API, typed by its own document. The session travels as a cookie. */
export const client = createClient<paths>({ baseUrl: '/', credentials: 'same-origin' });

/** Refused is an answer that was no success; problem is the server's own word on it. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail ?? problem.title);
  }
}

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** must returns an answer's data, or throws what the server said. */
export async function must<T>(call: Promise<Answer<T>>): Promise<T> {
  return (await mustTagged(call)).data;
}

/** mustTagged is must with the ETag, for a later If-Match. */
export async function mustTagged<T>(call: Promise<Answer<T>>): Promise<{ data: T; etag: string }> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch {
    throw new Refused({ type: 'about:blank', title: 'The server does not answer', status: 0, detail: 'The control node cannot be reached from this browser. It will be tried again.' });
  }
  if (!answer.response.ok) throw new Refused(problemOf(answer.error, answer.response));
  return { data: answer.data as T, etag: answer.response.headers.get('ETag') ?? '' };
}
