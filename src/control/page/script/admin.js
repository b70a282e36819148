// Speaks to palantir: the stream of figures, and requests that change something.

const TOKEN = 'palantir-token';
/** Without a word for so long, a connection counts as lost: figures come every second. */
const SILENCE_MS = 5000;
const PAUSE_MS = [250, 500, 1000, 2000, 3000];

/** An answer that is no success, as lines for people. */
class Refusal extends Error {
  constructor(status, lines) {
    super(lines.join('; '));
    this.status = status;
    this.lines = lines;
  }
}

function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** What an `application/problem+json` (RFC 9457) says: the sentence, then one line per mistake. */
async function refusalOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  // What a file says names its fields, with line and column.
  const line = ({ field, detail }) => (detail.includes(field) ? detail : `${field}: ${detail}`);
  const mistakes = (problem.errors ?? []).map(line);
  const sentence = problem.detail ?? problem.title ?? `palantir answered ${answer.status}`;
  return new Refusal(answer.status, mistakes.length > 0 ? mistakes : [sentence]);
}

/** Sends a request and gives its answer's JSON. Throws a `Refusal`, or a `TypeError` if palantir cannot be reached. */
async function ask(method, path, body) {
  const headers = { accept: 'application/json', ...authorization() };
  if (body !== undefined) headers['content-type'] = 'application/json';
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store' });
  if (!answer.ok) throw await refusalOf(answer);
  return answer.status === 204 ? {} : answer.json();
}

/** Reads one stream of events until it ends. `EventSource` could send no token and would hide why it was refused. */
async function readEvents(signal, onEvent) {
  const headers = { accept: 'text/event-stream', ...authorization() };
  const answer = await fetch('events', { headers, signal, cache: 'no-store' });
  if (!answer.ok) throw await refusalOf(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split('\n\n');
    rest = events.pop();
    for (const event of events) readEvent(event, onEvent);
  }
}

function readEvent(text, onEvent) {
  let name = 'message';
  const data = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('event:')) name = line.slice(6).trim();
    if (line.startsWith('data:')) data.push(line.slice(5));
  }
  if (data.length > 0) onEvent(name, JSON.parse(data.join('\n')));
}

/** Follows the events for ever: connects again whenever the stream ends, breaks or falls silent. */
class Feed {
  constructor({ onEvent, onLink }) {
    this.onEvent = onEvent;
    this.onLink = onLink;
    this.attempts = 0;
  }

  async run() {
    for (;;) {
      const refusal = await this.follow();
      if (refusal?.status === 401 || refusal?.status === 403) {
        this.onLink('closed', refusal);
        await new Promise((resolve) => { this.retry = resolve; });
      } else {
        this.onLink('lost', refusal);
        const pause = PAUSE_MS[Math.min(this.attempts, PAUSE_MS.length - 1)];
        this.attempts += 1;
        await new Promise((resolve) => { this.retry = resolve; setTimeout(resolve, pause); });
      }
    }
  }

  /** One connection, from beginning to end; what ended it, if that was an answer. */
  async follow() {
    const broken = new AbortController();
    this.cut = () => broken.abort();
    let silence = setTimeout(this.cut, SILENCE_MS);
    try {
      await readEvents(broken.signal, (name, value) => {
        clearTimeout(silence);
        silence = setTimeout(this.cut, SILENCE_MS);
        this.attempts = 0;
        this.onLink('live');
        this.onEvent(name, value);
      });
    } catch (error) {
      return error instanceof Refusal ? error : undefined;
    } finally {
      clearTimeout(silence);
      broken.abort();
    }
  }

  /** Connects anew at once, with the token of now. */
  again() {
    this.attempts = 0;
    this.cut?.();
    this.retry?.();
  }
}
