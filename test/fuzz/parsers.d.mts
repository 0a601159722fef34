/** See parsers.mjs. */
export function parserTargets(api: object): Record<string, (bytes: Uint8Array) => void>;
