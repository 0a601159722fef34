// Loads a request handler from a module of the user, and says what is wrong with one that is none.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RequestHandler } from '../connection/served-request.js';
import { VerbenaError, messageOf } from '../errors.js';

const EXAMPLE = 'export default ({ payload }) => payload;';

function moduleError(href: string, what: string, fix: string, cause?: unknown): VerbenaError {
  const name = href.startsWith('file:') ? fileURLToPath(href) : href;
  return new VerbenaError(
    'ERR_VERBENA_HANDLER_MODULE',
    `the handler module ${name} ${what}. ${fix}`,
    { cause },
  );
}

function loadError(href: string, cause: unknown): VerbenaError {
  if (href.startsWith('file:') && !existsSync(fileURLToPath(href))) {
    return moduleError(href, 'does not exist', 'Check the path of --handler or `handler`', cause);
  }
  const how = cause instanceof SyntaxError ? 'cannot be parsed' : 'threw while it was loaded';
  return moduleError(
    href,
    `${how}: ${messageOf(cause)}`,
    'Run `node` with that file alone to see where',
    cause,
  );
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `of type ${typeof value}`;
}

/** The default export; throws ERR_VERBENA_HANDLER_MODULE that says how to mend the module. */
export async function loadHandler<S>(href: string): Promise<RequestHandler<S>> {
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = (await import(href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw loadError(href, cause);
  }
  if (!('default' in loaded)) {
    const names = Object.keys(loaded);
    const has = names.length === 0 ? 'exports nothing' : `exports ${names.join(', ')}`;
    throw moduleError(href, `has no default export (it ${has})`, `Write: ${EXAMPLE}`);
  }
  const handler = loaded['default'];
  if (typeof handler === 'function') return handler as RequestHandler<S>;
  throw moduleError(
    href,
    `has a default export that is no function but ${describe(handler)}`,
    `Write: ${EXAMPLE}`,
  );
}
