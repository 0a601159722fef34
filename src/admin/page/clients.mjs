// The table of clients: sorted as asked, rows kept while their client is there, and what each holds.
// Whatever a client says of itself is only ever set as text.
import * as format from './format.mjs';

const kindNames = {
  pd: 'protection domain',
  cq: 'completion queue',
  qp: 'queue pair',
  mr: 'memory region',
  pollGroup: 'poll group',
  device: 'device',
};

/** Where the style leaves four of the eight columns out. */
const narrow = matchMedia('(max-width: 44rem)');

function cell(className) {
  const made = document.createElement('td');
  made.className = className;
  return made;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function treeOf(nodes) {
  const list = document.createElement('ul');
  for (const { kind, bytes, ageMs, closeError, children } of nodes) {
    const item = document.createElement('li');
    const name = document.createElement('b');
    name.textContent = kindNames[kind] ?? kind;
    const facts = [
      ...(bytes > 0 ? [format.text(format.bytes(bytes))] : []),
      `for ${format.span(ageMs / 1000)}`,
      ...(closeError === undefined ? [] : [`cannot be closed: ${closeError}`]),
    ];
    item.append(name, ` ${facts.join(', ')}`);
    if (children.length > 0) item.append(treeOf(children));
    list.append(item);
  }
  return list;
}

/** One client: its row, and a second one that shows what it holds. */
class Row {
  main = document.createElement('tr');
  details = document.createElement('tr');
  #name = document.createElement('button');
  #state = document.createElement('span');
  #cells = {
    address: cell('wide quiet'),
    rate: cell('number'),
    latency: cell('number'),
    inWork: cell('number wide'),
    memory: cell('number wide quiet'),
    connected: cell('number wide quiet'),
  };
  #tree = cell('');
  #client;

  constructor() {
    this.#name.type = 'button';
    this.#name.className = 'name';
    this.#name.setAttribute('aria-expanded', 'false');
    this.#name.addEventListener('click', () => this.#toggle());
    const name = cell('');
    name.append(this.#name);
    const state = cell('');
    state.append(this.#state);
    this.main.append(name, state, ...Object.values(this.#cells));
    this.details.className = 'details';
    this.details.hidden = true;
    this.details.append(this.#tree);
  }

  show(client) {
    this.#client = client;
    const { address, rate, latency, inWork, memory, connected } = this.#cells;
    setText(this.#name, client.name === '' ? `client ${client.id}` : client.name);
    const where = client.worker === null ? '' : `, worker ${client.worker}`;
    this.#name.title = `${client.name}, queue pair ${client.qpn}${where}`;
    setText(this.#state, client.state);
    this.#state.className = client.state;
    setText(address, client.remoteAddress);
    setText(rate, format.rate(client.requestsPerSecond).join(''));
    rate.classList.toggle('quiet', client.requestsPerSecond === 0);
    setText(latency, format.text(format.duration(client.meanMs)));
    latency.classList.toggle('quiet', client.meanMs === null);
    setText(inWork, format.count(client.requestsInWork));
    setText(memory, format.text(format.bytes(client.resources.bytes)));
    setText(connected, format.span((Date.now() - client.connectedAtMs) / 1000));
    if (!this.details.hidden) this.#showTree();
  }

  remove() {
    this.main.remove();
    this.details.remove();
  }

  #toggle() {
    this.details.hidden = !this.details.hidden;
    this.#name.setAttribute('aria-expanded', String(!this.details.hidden));
    if (!this.details.hidden) this.#showTree();
  }

  #showTree() {
    const tree = treeOf(this.#client.resources.objects);
    tree.className = 'tree';
    this.#tree.colSpan = narrow.matches ? 4 : 8;
    this.#tree.replaceChildren(tree);
  }
}

const natural = new Intl.Collator('en', { numeric: true });

function compare(key, a, b) {
  const value = (client) => (key === 'bytes' ? client.resources.bytes : client[key]);
  const [left, right] = [value(a), value(b)];
  if (typeof left === 'string') return natural.compare(left, right);
  return (left ?? -1) - (right ?? -1);
}

export class Clients {
  #body;
  #rows = new Map();
  #clients = [];
  #key = 'name';
  #direction = 1;

  constructor(table) {
    this.#body = table.tBodies[0];
    for (const head of table.tHead.querySelectorAll('th')) {
      head.querySelector('button').addEventListener('click', () => this.#sortBy(head));
    }
  }

  show(clients) {
    this.#clients = clients;
    const ids = new Set(clients.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    const sorted = [...clients].sort(
      (a, b) => this.#direction * compare(this.#key, a, b) || a.id - b.id,
    );
    let at = this.#body.firstChild;
    for (const client of sorted) {
      const row = this.#rows.get(client.id) ?? new Row();
      this.#rows.set(client.id, row);
      row.show(client);
      // Moved only when it is not where it belongs, so that what is focused stays so.
      if (at === row.main) at = row.details.nextSibling;
      else {
        this.#body.insertBefore(row.main, at);
        this.#body.insertBefore(row.details, at);
      }
    }
  }

  /** Numbers start with the largest, texts with A; the second click turns round. */
  #sortBy(head) {
    const { key } = head.dataset;
    const first = head.classList.contains('number') ? -1 : 1;
    this.#direction = key === this.#key ? -this.#direction : first;
    this.#key = key;
    for (const each of head.parentElement.children) each.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', this.#direction === 1 ? 'ascending' : 'descending');
    this.show(this.#clients);
  }
}
