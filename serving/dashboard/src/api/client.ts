import createClient, { type Middleware } from "openapi-fetch";
import { report } from "./health";
import { keyStore } from "./key";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** The service responded with a problem document. */
export class ApiError extends Error {
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

/** Return the data of a response. Throws an ApiError for a problem document; keeps `healthStore` up to date. */
export async function dataOf<R extends Reply>(call: Promise<R>): Promise<NonNullable<R["data"]>> {
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
  const error = apiErrorOf(status, reply.error);
  report({
    service:
      status === 502 || status === 504 ? `A proxy responded with ${status} instead of the service` : null,
  });
  if (status === 401) report({ keyError: error.message });
  throw error;
}

function apiErrorOf(status: number, problem: unknown): ApiError {
  const { title, detail } = (typeof problem === "object" ? (problem ?? {}) : {}) as Partial<
    Schemas["Problem"]
  >;
  return new ApiError(status, title ?? "Error", detail ?? `The service responded with status ${status}.`);
}

/** An error as a message for the reader of the page. */
export function errorMessage(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  return error instanceof TypeError ? "Cannot reach the service." : String(error);
}
