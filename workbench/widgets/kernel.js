// Questions to the kernel. Of each sort only the latest counts.
export class Kernel {
  constructor(model, { late, silent, failed, answered }) {
    Object.assign(this, { model, late, silent, failed, answered, last: 0, waiting: new Map() });
    this.listen = (content, buffers) => this.reply(content, buffers ?? []);
    model.on("msg:custom", this.listen);
  }
  // `words` say what is fetched if that takes long; without them nobody waits for the answer.
  ask(content, then, words) {
    const id = ++this.last, entry = { sort: content.ask, then, timers: [] };
    // A kernel that is busy with a long cell answers after it.
    if (words) entry.timers = [setTimeout(() => this.late(words), 300), setTimeout(this.silent, 5000)];
    for (const [old, { sort }] of this.waiting) if (sort === content.ask) this.drop(old);
    this.waiting.set(id, entry);
    try { this.model.send({ ...content, id }); } catch { this.drop(id); if (words) this.silent(); }
  }
  drop(id) {
    const entry = this.waiting.get(id);
    this.waiting.delete(id);
    entry?.timers.forEach(clearTimeout);
    return entry;
  }
  reply(content, buffers) {
    const entry = this.drop(content.id);
    if (!entry) return;
    if (content.failure) return this.failed(content.failure);
    this.answered();
    entry.then(content, buffers);
  }
  close() {
    [...this.waiting.keys()].forEach((id) => this.drop(id));
    this.model.off("msg:custom", this.listen);
  }
}
