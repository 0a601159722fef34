// Names of work-completion statuses and opcodes, and the identifiers that work requests carry.

/** `ibv_wc_status`, by number. */
const statusNames = [
  'SUCCESS',
  'LOC_LEN_ERR',
  'LOC_QP_OP_ERR',
  'LOC_EEC_OP_ERR',
  'LOC_PROT_ERR',
  'WR_FLUSH_ERR',
  'MW_BIND_ERR',
  'BAD_RESP_ERR',
  'LOC_ACCESS_ERR',
  'REM_INV_REQ_ERR',
  'REM_ACCESS_ERR',
  'REM_OP_ERR',
  'RETRY_EXC_ERR',
  'RNR_RETRY_EXC_ERR',
  'LOC_RDD_VIOL_ERR',
  'REM_INV_RD_REQ_ERR',
  'REM_ABORT_ERR',
  'INV_EECN_ERR',
  'INV_EEC_STATE_ERR',
  'FATAL_ERR',
  'RESP_TIMEOUT_ERR',
  'GENERAL_ERR',
] as const;

export const WC_SUCCESS = 0;
export const WC_FLUSH_ERR = 5;

/** `ibv_wc_opcode` of a receive that a WRITE with immediate used up. */
export const WC_RECV_RDMA_WITH_IMM = 129;

export function wcStatusName(status: number): string {
  return statusNames[status] ?? `STATUS_${status}`;
}

const causes: Readonly<Record<string, string>> = {
  RETRY_EXC_ERR:
    'the peer stopped answering: its process died, or packets do not arrive ' +
    '(check UDP port 4791, the GID index and the MTU)',
  RNR_RETRY_EXC_ERR: 'the peer had no receive posted for too long',
  REM_ACCESS_ERR: 'the peer refused the access: wrong key, bounds or rights',
  REM_INV_REQ_ERR: 'the peer refused the request as invalid',
  REM_OP_ERR: 'the peer failed to carry out the request',
  LOC_PROT_ERR: 'a local memory key or bound was wrong',
  WR_FLUSH_ERR: 'the queue pair was already in the error state',
};

/** `RETRY_EXC_ERR (likely cause)`. */
export function describeWcStatus(status: number): string {
  const name = wcStatusName(status);
  const cause = causes[name];
  return cause === undefined ? name : `${name} (${cause})`;
}
