// A client process of the demo: connects, works, checks every byte and counter, and leaves.
import { messageOf } from '../../errors.js';
import { connect } from '../../index.js';
import { liveObjects } from '../../processes/live-objects.js';
import { ParentLink } from '../../processes/parent-link.js';
import { Work, workRegionBytes } from '../../stress/work.js';
import type { ClientOrders, FromClient, ToClient } from './messages.js';

const link = new ParentLink<ToClient, FromClient>(({ orders }) => {
  void main(orders).then(
    () => process.exit(0),
    async (error: unknown) => {
      await link.send({ type: 'failed', message: messageOf(error), live: liveObjects() });
      process.exit(1);
    },
  );
});

async function main(orders: ClientOrders): Promise<void> {
  const connection = await connect({
    device: orders.device,
    host: '127.0.0.1',
    port: orders.port,
    ca: orders.ca,
    name: orders.name,
    maxPayloadBytes: orders.largeBytes,
    regionBytes: workRegionBytes,
  });
  const latenciesUs: number[] = [];
  const report = ({ requests, bytesVerified }: Work): void =>
    void link.send({ type: 'progress', requests, bytesVerified });
  const work = new Work(connection, report, (us) => latenciesUs.push(us));
  try {
    const { localPsn, remotePsn } = connection;
    await link.send({ type: 'connected', localPsn, remotePsn });
    await work.all(orders);
  } finally {
    await connection.close();
  }
  const { requests, bytesVerified } = work;
  await link.send({ type: 'done', requests, bytesVerified, latenciesUs, live: liveObjects() });
}
