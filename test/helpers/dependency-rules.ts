// Judges edges between source files by which folder may use which.

/** Folder → the folders it may use besides itself. */
export type Rule = Readonly<Record<string, readonly string[]>>;

export interface Edge {
  /** Paths relative to the root that the rule's folders are named from. */
  readonly from: string;
  readonly to: string;
}

/** The longest folder of the rule that holds the path; `.` for a file at the top. */
function layerOf(path: string, rule: Rule): string | undefined {
  if (!path.includes('/')) return '.' in rule ? '.' : undefined;
  return Object.keys(rule)
    .filter((folder) => path.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0];
}

/** One sentence for each edge that the rule does not allow. */
export function findViolations(edges: readonly Edge[], rule: Rule): string[] {
  return edges.flatMap(({ from, to }) => {
    const source = layerOf(from, rule);
    const target = layerOf(to, rule);
    if (source === undefined) return [`${from} is in a folder that no rule names`];
    if (target === undefined) return [`${from} uses ${to}, which is in no known folder`];
    if (source === target || rule[source]?.includes(target)) return [];
    return [`${from} (${source}) must not use ${to} (${target})`];
  });
}
