// Calls to the server, and the one place where a refusal becomes words for people.
import { t } from "../strings";

/** Event of the window: the server no longer knows who asks. */
export const SIGNED_OUT = "ferroflow-signed-out";

/** A refused or failed call: what was tried, why it failed, what to do. */
export class CallError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly path: string,
    /** The name under which the call stands in the server's log. */
    readonly request?: string,
  ) {
    super(message);
    this.name = "CallError";
  }

  /** What the reader can do about it. */
  get remedy(): string {
    const { remedies } = t.error;
    if (this.status === 0) return remedies.silent;
    if (this.status === 401) return remedies.unknown;
    if (this.status === 403) return remedies.forbidden;
    if (this.status === 404) return remedies.missing;
    if (this.status === 409) return remedies.taken;
    return this.status >= 500 ? remedies.broken : remedies.input;
  }
}

/** Calls the server and reads JSON; throws `CallError`. */
export async function call<T>(path: string, options: RequestInit = {}): Promise<T> {
  const response = await send(path, options);
  const text = await response.text();
  return (text ? JSON.parse(text) : {}) as T;
}

/** Calls the server and gives the body as it comes; throws `CallError`. */
export async function send(path: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new CallError(0, t.error.silent, path);
  }
  // The session is over: the page around everything asks for a new one.
  if (response.status === 401) window.dispatchEvent(new CustomEvent(SIGNED_OUT, { detail: path }));
  if (!response.ok) throw new CallError(response.status, refusal(await response.text(), response), path, response.headers.get("x-request-id") ?? undefined);
  return response;
}

/** Sends a JSON body. */
export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return call<T>(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

/** Deletes what is there. */
export function remove(path: string): Promise<unknown> {
  return call(path, { method: "DELETE" });
}

function refusal(text: string, response: Response): string {
  try {
    const body = JSON.parse(text) as Record<string, unknown>;
    const said = body.message ?? body.error_message ?? body.error;
    if (typeof said === "string" && said) return said.charAt(0).toUpperCase() + said.slice(1);
  } catch {
    // Not JSON: the status says it.
  }
  return text.length > 0 && text.length < 300 && !text.startsWith("<") ? text : t.error.answered(response.status, response.statusText);
}
