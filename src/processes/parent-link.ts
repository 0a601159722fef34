// The child's end of a channel between processes: typed messages, and a life within the parent's.

export class ParentLink<In, Out> {
  /**
   * Calls `handle` for each message of the parent. The process ends when the parent does: the
   * channel closes then. Ctrl-C reaches the whole process group, but the parent ends its children.
   */
  constructor(handle: (message: In) => void) {
    if (process.send === undefined) {
      throw new Error('this program is no command: `verbena` starts it');
    }
    process.on('message', (message) => handle(message as In));
    process.on('disconnect', () => process.exit(1));
    process.on('SIGINT', () => undefined);
    process.on('SIGTERM', () => process.exit(143));
  }

  /** Resolves when the message has left this process. */
  send(message: Out): Promise<void> {
    return new Promise((resolve, reject) => {
      process.send?.(message, undefined, undefined, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }
}
