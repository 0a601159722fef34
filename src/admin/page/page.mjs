// The status page: hears the server's events while it is visible, and shows them.
import { Charts } from './charts.mjs';
import { Clients } from './clients.mjs';
import * as format from './format.mjs';
import { Workers } from './workers.mjs';

const RETRY_MS = 10_000;
const byId = (id) => document.getElementById(id);

const charts = new Charts(byId('charts'));
const clients = new Clients(document.querySelector('#clients table'));
const workers = new Workers(byId('workers'));
let events;
let retry;

function setText(id, text) {
  byId(id).textContent = text;
}

function setFigure(id, [number, unit]) {
  const small = document.createElement('small');
  small.textContent = unit;
  byId(id).replaceChildren(number, ...(unit === '' ? [] : [small]));
}

function setMeter(id, share) {
  const bar = byId(id);
  bar.style.width = `${Math.min(100, share * 100)}%`;
  bar.classList.toggle('high', share > 0.9);
}

function setState(state, text = state) {
  const pill = byId('state');
  pill.dataset.state = state;
  if (pill.textContent !== text) pill.textContent = text;
  document.body.classList.toggle('lost', state === 'lost');
  document.title = state === 'listening' ? 'Verbena' : `Verbena: ${text}`;
}

/** Rows of label and number; those of codes that never came are left out. */
function setList(id, entries) {
  const rows = entries.flatMap(([label, number]) => {
    const term = document.createElement('dt');
    const value = document.createElement('dd');
    term.textContent = label;
    value.textContent = number;
    return [term, value];
  });
  byId(id).replaceChildren(...rows);
}

const byCount = (counts) =>
  Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([code, number]) => [format.words(code), format.count(number)]);

function showFigures({ sample, capacity, clientsTotal, ...update }) {
  setFigure('clients-now', [format.count(clientsTotal), `of ${format.count(capacity.clients)}`]);
  setMeter('clients-meter', clientsTotal / capacity.clients);
  const { waiting, queue } = update;
  const line = waiting > 0 ? `${format.count(waiting)} wait; ` : '';
  setText('clients-note', `${line}limit: ${capacity.limitedBy}`);
  setFigure('requests-now', format.rate(sample.requestsPerSecond));
  setMeter('queue-meter', queue.pending / queue.size);
  setText('requests-note', `${format.count(queue.pending)} of ${format.count(queue.size)} in work`);
  setFigure('latency-now', format.duration(sample.p50Ms));
  setText('latency-note', `median; p99 ${format.text(format.duration(sample.p99Ms))}`);
  setFigure('errors-now', format.rate(sample.errorsPerSecond));
  setText('errors-note', `${format.rate(sample.refusedPerSecond).join('')} clients refused`);
  setFigure('memory-now', format.bytes(update.registeredBytes));
  setText('memory-note', `${format.count(update.objects.mr)} regions`);
  setFigure('loop-now', [String(Math.round(sample.busy * 100)), '%']);
  setMeter('loop-meter', sample.busy);
}

function showTotals({ objects, accepted, refused, ended, pendingHandshakes, waiting }) {
  setList('objects', [
    ['protection domains', format.count(objects.pd)],
    ['completion queues', format.count(objects.cq)],
    ['queue pairs', format.count(objects.qp)],
    ['memory regions', format.count(objects.mr)],
  ]);
  setList('setups', [
    ['accepted', format.count(accepted)],
    ['under way', format.count(pendingHandshakes)],
    ['waiting for room', format.count(waiting)],
    ...byCount(refused).map(([reason, number]) => [`refused: ${reason}`, number]),
  ]);
  const endings = byCount(ended);
  setList('endings', endings.length === 0 ? [['none yet', '']] : endings);
}

function showUpdate(update) {
  const { state, shedding, listening, device, uptimeSeconds, version } = update;
  if (state !== 'listening' || shedding.length === 0) setState(state);
  else setState('shedding', `shedding load: ${shedding.join(', ')}`);
  setText('listening', listening === null ? 'nothing' : hostAndPort(listening));
  setText('device', device);
  setText('uptime', format.span(uptimeSeconds));
  setText('version', version);
  showFigures(update);
  showTotals(update);
  charts.add(update.sample);
  clients.show(update.clients);
  workers.show(update.workers, update.sample.timestampMs);
  const { length } = update.clients;
  const isPart = length < update.clientsTotal;
  setText('shown', isPart ? `the ${length} busiest of ${format.count(update.clientsTotal)}` : '');
  byId('nobody').hidden = length > 0;
  document.querySelector('#clients table').hidden = length === 0;
}

const hostAndPort = ({ address, port }) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** The browser tries again by itself, unless the server refused: it has pages enough. */
function onLost() {
  if (events.readyState !== EventSource.CLOSED) {
    setState('lost', 'no answer');
    return;
  }
  setState('lost', 'refused: too many pages are open');
  retry = setTimeout(start, RETRY_MS);
}

function start() {
  stop();
  events = new EventSource('/events');
  events.addEventListener('history', ({ data }) => charts.reset(JSON.parse(data)));
  events.addEventListener('update', ({ data }) => showUpdate(JSON.parse(data)));
  events.addEventListener('error', onLost);
}

function stop() {
  clearTimeout(retry);
  events?.close();
}

function onVisibility() {
  if (document.visibilityState === 'visible') start();
  else stop();
}

document.addEventListener('visibilitychange', onVisibility);
onVisibility();
