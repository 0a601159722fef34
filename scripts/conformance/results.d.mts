// Types of results.mjs for the tests.
export type Results = Map<string, { outcome: string; reason: string }>;

export function readResults(report: string): Results;
export function shortcomings(soft: Results, kernel: Results): string[];
export function sideBySide(soft: Results, kernel: Results): string;
