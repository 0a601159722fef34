// What the demo shows on a terminal and elsewhere.
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createView, type ClientState } from '../../../../src/cli/demo/view.js';

function collect(isTTY: boolean, rows = 24): { out: NodeJS.WriteStream; text: () => string } {
  const stream = new PassThrough();
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const out = Object.assign(stream, { isTTY, rows }) as unknown as NodeJS.WriteStream;
  return {
    out,
    text: () => {
      const taken = text;
      text = '';
      return taken;
    },
  };
}

function clients(count: number): ClientState[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `client${index}`,
    phase: 'starting',
    requests: 0,
    bytesVerified: 0,
  }));
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const change = (state: ClientState | undefined, to: Partial<ClientState>): void => {
  Object.assign(state ?? {}, to);
};

describe('the view where there is no terminal', () => {
  it('writes one line for each change of state and none for progress alone', () => {
    const { out, text } = collect(false);
    const states = clients(2);
    const view = createView(out, states);
    change(states[0], { phase: 'connected' });
    view.update();
    change(states[0], { phase: 'working', requests: 5, bytesVerified: 1024 });
    view.update();
    change(states[0], { requests: 6 });
    view.update();
    view.end();
    expect(text()).toBe('client0 connected\nclient0 working, 5 requests, 1.0 KiB\n');
  });
});

describe('the table on a terminal', () => {
  it('draws over itself, at most ten times a second', () => {
    const { out, text } = collect(true);
    const states = clients(2);
    const view = createView(out, states);
    view.update();
    view.update();
    expect(text()).toBe('');
    vi.advanceTimersByTime(100);
    expect(text().split('\n')).toHaveLength(4);
    change(states[1], { phase: 'left', requests: 9 });
    view.update();
    vi.advanceTimersByTime(100);
    const second = text();
    expect(second.startsWith('\u001b[3A')).toBe(true);
    expect(second).toMatch(/client1 +left +9 /);
  });

  it('shows every client on a terminal that does not tell its height', () => {
    const { out, text } = collect(true, 0);
    createView(out, clients(30)).end();
    expect(text().split('\n')).toHaveLength(32);
  });

  it('keeps to the height of the terminal and stops at the end', () => {
    const { out, text } = collect(true, 6);
    const states = clients(50);
    change(states[49], { phase: 'left' });
    const view = createView(out, states);
    view.update();
    view.end();
    const lines = text().split('\n');
    expect(lines).toHaveLength(6);
    expect(lines[4]).toContain('and 47 more, of which 1 have left');
    vi.advanceTimersByTime(1000);
    expect(text()).toBe('');
  });
});
