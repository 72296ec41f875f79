import createClient, { type Middleware } from "openapi-fetch";
import { report } from "./health";
import { keyStore } from "./key";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** The service answered with a problem. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
  ) {
    super(detail);
  }
}

const withKey: Middleware = {
  onRequest({ request }) {
    const key = keyStore.get();
    if (key) request.headers.set("Authorization", `Bearer ${key}`);
    return request;
  },
};

export const client = createClient<paths>({ baseUrl: "" });
client.use(withKey);

interface Reply {
  data?: unknown;
  error?: unknown;
  response: Response;
}

/** What a call answers. Throws a Refusal where that is a problem, and reports it to `healthStore`. */
export async function answerOf<R extends Reply>(call: Promise<R>): Promise<NonNullable<R["data"]>> {
  let reply: R;
  try {
    reply = await call;
  } catch (error) {
    if (!(error instanceof SyntaxError)) report({ service: "Cannot reach the service" });
    throw error;
  }
  const { status } = reply.response;
  if (reply.response.ok) {
    report({ service: null });
    return (reply.data ?? {}) as NonNullable<R["data"]>;
  }
  const refusal = refusalOf(status, reply.error);
  report({
    service: status === 502 || status === 504 ? `A proxy answers ${status} instead of the service` : null,
  });
  if (status === 401) report({ keyWanted: refusal.message });
  throw refusal;
}

function refusalOf(status: number, problem: unknown): Refusal {
  const { title, detail } = (typeof problem === "object" ? (problem ?? {}) : {}) as Partial<
    Schemas["Problem"]
  >;
  return new Refusal(status, title ?? "Error", detail ?? `The service answered ${status}.`);
}

/** An error in words. */
export function wordsOf(error: unknown): string {
  if (error instanceof Refusal) return error.message;
  return error instanceof TypeError ? "Cannot reach the service." : String(error);
}
