// Combinations of factors for tests: all of them, or few that cover every pair of values.

/** The values of each factor. */
export type Factors = Readonly<Record<string, readonly (string | number)[]>>;

/** One value of each factor. */
export type Combination<F extends Factors> = { readonly [K in keyof F]: F[K][number] };

/** Every combination that is allowed; the last factor varies fastest. */
export function everyCombination<F extends Factors>(
  factors: F,
  isAllowed: (combination: Combination<F>) => boolean = () => true,
): Combination<F>[] {
  const partial = Object.entries(factors).reduce<Readonly<Record<string, string | number>>[]>(
    (combinations, [name, values]) =>
      combinations.flatMap((known) => values.map((value) => ({ ...known, [name]: value }))),
    [{}],
  );
  return (partial as Combination<F>[]).filter(isAllowed);
}

/** The pairs of values in a combination, each as text. */
export function pairsOf(combination: Readonly<Record<string, string | number>>): string[] {
  const values = Object.entries(combination).map(([name, value]) => `${name}=${value}`);
  return values.flatMap((one, index) => values.slice(index + 1).map((two) => `${one} ${two}`));
}

/** How far apart the starts of two searches are: far enough that equals are not neighbours. */
const STRIDE = 101;

/**
 * Allowed combinations in which every pair of values that can occur does occur. Greedy, always the
 * same, and not far from the fewest. Among equals it takes different ones in turn, so that the
 * first values are not preferred.
 */
export function pairwiseCombinations<F extends Factors>(
  factors: F,
  isAllowed?: (combination: Combination<F>) => boolean,
): Combination<F>[] {
  const candidates = everyCombination(factors, isAllowed).map((combination) => ({
    combination,
    pairs: pairsOf(combination),
  }));
  const missing = new Set(candidates.flatMap(({ pairs }) => pairs));
  const gain = (pairs: readonly string[]): number =>
    pairs.filter((pair) => missing.has(pair)).length;
  const chosen: Combination<F>[] = [];
  while (missing.size > 0) {
    const start = (chosen.length * STRIDE) % candidates.length;
    const turned = [...candidates.slice(start), ...candidates.slice(0, start)];
    const best = turned.reduce((one, two) => (gain(two.pairs) > gain(one.pairs) ? two : one));
    for (const pair of best.pairs) missing.delete(pair);
    chosen.push(best.combination);
  }
  return chosen;
}
