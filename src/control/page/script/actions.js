// What an operator does from the page: drain, weigh, reload, give a token. Every outcome is said.

const NOTICE_MS = 6000;

/** Says an outcome. Bad news stays until it is dismissed. */
function say(title, lines = [], isBad = false) {
  const dismiss = element('button', { type: 'button', 'aria-label': 'Dismiss' }, 'Dismiss');
  const text = element('div', {}, element('strong', {}, title));
  if (lines.length > 0) text.append(element('ul', {}, ...lines.map((line) => element('li', {}, line))));
  const notice = element('div', { class: isBad ? 'notice bad' : 'notice' }, text, dismiss);
  dismiss.addEventListener('click', () => notice.remove());
  byId('notices').append(notice);
  while (byId('notices').children.length > 4) byId('notices').firstChild.remove();
  if (!isBad) setTimeout(() => notice.remove(), NOTICE_MS);
}

/** Opens a dialog; resolves to the value of the button that closed it, `''` if it was left otherwise. */
function opened(dialog) {
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue), { once: true });
  });
}

const serverPath = (pool, address) => `pools/${encodeURIComponent(pool)}/servers/${encodeURIComponent(address)}`;

class Actions {
  constructor(feed) {
    this.feed = feed;
    for (const button of document.querySelectorAll('[data-close]')) {
      button.addEventListener('click', () => button.closest('dialog').close(''));
    }
    byId('token-open').addEventListener('click', () => this.askForToken());
    byId('token-forget').addEventListener('click', () => {
      byId('token').value = '';
      byId('token-dialog').close('use');
    });
    byId('reload-open').addEventListener('click', () => this.reload());
    byId('trial-keep').addEventListener('click', () => this.keep());
  }

  /** Does something and says how it went; the answer, if it went well. */
  async attempt(what, act) {
    try {
      const answer = await act();
      say(answer.changed === false ? 'Nothing changed by that' : what.done, answer.notes);
      return answer;
    } catch (error) {
      const lines = error instanceof Refusal ? error.lines : ['palantir cannot be reached.'];
      say(what.failed, lines, true);
      if (error.status === 401) this.askForToken('That needs a token. Give it, then try again.');
    }
  }

  async askForToken(why) {
    const dialog = byId('token-dialog');
    if (dialog.open) return;
    if (why) write(byId('token-why'), why);
    byId('token').value = sessionStorage.getItem(TOKEN) ?? '';
    if ((await opened(dialog)) !== 'use') return;
    const token = byId('token').value.trim();
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
    this.feed.again();
  }

  async drain(pool, { address, state }, isLast) {
    const drain = state !== 'draining';
    write(byId('drain-of'), address);
    if (drain && isLast && (await opened(byId('drain-dialog'))) !== 'drain') return;
    const what = drain
      ? { done: `${address} drains: it takes no new requests`, failed: `${address} was not drained` }
      : { done: `${address} takes requests again`, failed: `${address} still drains` };
    await this.attempt(what, () => ask('PATCH', serverPath(pool, address), { drain }));
  }

  async weigh(pool, { address, weight }) {
    write(byId('weight-of'), address);
    byId('weight').value = weight;
    if ((await opened(byId('weight-dialog'))) !== 'set') return;
    const wanted = byId('weight').valueAsNumber;
    const what = { done: `${address} has weight ${wanted}`, failed: `The weight of ${address} stays ${weight}` };
    await this.attempt(what, () => ask('PATCH', serverPath(pool, address), { weight: wanted }));
  }

  async reload() {
    const closed = opened(byId('reload-dialog'));
    this.showDifference();
    if ((await closed) !== 'reload') return;
    const secs = byId('reload-secs').valueAsNumber;
    const onTrial = byId('reload-trial').checked;
    const what = { done: 'The configuration was reloaded', failed: 'The configuration was not reloaded' };
    const done = await this.attempt(what, () => ask('POST', 'reload', onTrial ? { confirm_secs: secs } : {}));
    if (done?.changed && onTrial) this.beginTrial(secs);
  }

  /** What the file would change, or all its mistakes. */
  async showDifference() {
    const place = byId('reload-diff');
    write(place, 'Reading the file…');
    byId('reload-do').disabled = true;
    try {
      const { lines } = await ask('GET', 'config/diff');
      byId('reload-do').disabled = false;
      if (lines.length === 0) write(place, 'The file says what is already in force.');
      else place.replaceChildren(element('ul', {}, ...lines.map((line) => element('li', {}, line))));
    } catch (error) {
      const lines = error instanceof Refusal ? error.lines : ['palantir cannot be reached.'];
      place.replaceChildren(element('strong', {}, 'The file cannot be used'), element('ul', {}, ...lines.map((line) => element('li', {}, line))));
    }
  }

  beginTrial(secs) {
    this.endTrial();
    const until = Date.now() + secs * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left <= 0) return this.endTrial();
      write(byId('trial-text'), `The new configuration is on trial: in ${left} s palantir goes back to the old one.`);
    };
    byId('trial').hidden = false;
    this.trial = setInterval(tick, 500);
    tick();
  }

  endTrial() {
    clearInterval(this.trial);
    byId('trial').hidden = true;
  }

  async keep() {
    const what = { done: 'The new configuration stays', failed: 'It could not be confirmed' };
    const confirm = async () => ({ ...await ask('POST', 'reload/confirm', {}), changed: true });
    if (await this.attempt(what, confirm)) this.endTrial();
  }
}
