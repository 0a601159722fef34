// The table of workers: one row each, with what it does now.
import * as format from './format.mjs';

function cell(text, className) {
  const made = document.createElement('td');
  made.className = className;
  made.textContent = text;
  return made;
}

function stateCell(state) {
  const made = cell('', '');
  const word = document.createElement('span');
  word.className = state === 'ready' ? 'open' : 'closing';
  word.textContent = state;
  made.append(word);
  return made;
}

export class Workers {
  #section;
  #body;
  /** What each had received at the last update. */
  #received = new Map();
  #at = 0;

  constructor(section) {
    this.#section = section;
    this.#body = section.querySelector('tbody');
  }

  show(workers, timestampMs) {
    this.#section.hidden = workers.length === 0;
    const seconds = Math.max((timestampMs - this.#at) / 1000, 0.001);
    this.#body.replaceChildren(...workers.map((worker) => this.#row(worker, seconds)));
    this.#received = new Map(workers.map(({ index, received }) => [index, received]));
    this.#at = timestampMs;
  }

  #row(worker, seconds) {
    const { index, processor, state, received } = worker;
    const rate = Math.max(0, received - (this.#received.get(index) ?? received)) / seconds;
    const where = processor === undefined ? '' : ` on processor ${processor}`;
    const row = document.createElement('tr');
    row.append(
      cell(`${index}${where}`, ''),
      stateCell(state),
      cell(format.count(worker.sessions), 'number'),
      cell(format.rate(rate).join(''), 'number'),
      cell(`${Math.round(worker.busy * 100)} %`, 'number'),
      cell(format.count(worker.requestsInWork), 'number wide'),
      cell(format.count(worker.rejected), 'number wide'),
      cell(format.count(worker.replacements), 'number wide'),
    );
    return row;
  }
}
