// Undoing: last step first, every step, once.
import { describe, expect, it } from 'vitest';
import { UndoStack } from '../../../src/connection/undo-stack.js';

describe('UndoStack', () => {
  it('runs every step in reverse order although some fail, and tells which', async () => {
    const order: string[] = [];
    const stack = new UndoStack();
    const first = new Error('first');
    const third = new Error('third');
    stack.add(() => {
      order.push('first');
      throw first;
    });
    stack.add(async () => {
      await Promise.resolve();
      order.push('second');
      return ['a failure that was returned'];
    });
    stack.add(() => {
      order.push('third');
      return Promise.reject(third);
    });
    stack.addFirst(() => order.push('before all'));
    expect(await stack.run()).toEqual([third, 'a failure that was returned', first]);
    expect(order).toEqual(['third', 'second', 'first', 'before all']);
  });

  it('runs once, however often it is asked', async () => {
    let runs = 0;
    const stack = new UndoStack();
    stack.add(() => runs++);
    await Promise.all([stack.run(), stack.run()]);
    await stack.run();
    expect(runs).toBe(1);
  });
});
