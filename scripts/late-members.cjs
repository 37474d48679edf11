// An object whose members are read when somebody asks for them: all types of the schema at once take longer than the rest of a small command's work.
// `text` has a line for each member, and an empty one before them: its name and, behind a blank, its value as JSON.
// biome-ignore lint/correctness/noUnusedVariables: the bundle calls it.
function members(text) {
  const ask = (target, name) => {
    if (typeof name === 'symbol' || Object.hasOwn(target, name)) return target[name];
    const at = text.indexOf(`\n${name} `);
    if (at < 0) return undefined;
    target[name] = JSON.parse(text.slice(at + name.length + 2, text.indexOf('\n', at + 1)));
    return target[name];
  };
  return new Proxy(Object.create(null), {
    get: ask,
    has: (target, name) => ask(target, name) !== undefined,
    getOwnPropertyDescriptor(target, name) {
      ask(target, name);
      return Object.getOwnPropertyDescriptor(target, name);
    },
    ownKeys: () => Array.from(text.matchAll(/^(\S+) /gm), ([, name]) => name),
  });
}
