// The text of `-o`: `name=value,name2=value2`. `,,` in a value is a comma; a name alone means `on`, or where it begins with `no`, `off`.

export interface OptionItem {
  name: string;
  value: string;
  /** As it was typed, where it is a name alone. */
  alone: string | null;
}

/** The options, in their order. */
export function optionItems(text: string): OptionItem[] {
  const items: OptionItem[] = [];
  for (let rest = text; rest !== ''; ) {
    const [item] = /^(?:[^,]|,,)*/.exec(rest)!;
    rest = rest.slice(item.length + 1);
    const equals = item.indexOf('=');
    if (equals >= 0) {
      items.push({ name: item.slice(0, equals), value: item.slice(equals + 1).replaceAll(',,', ','), alone: null });
    } else {
      const isOff = item.startsWith('no');
      items.push({ name: isOff ? item.slice(2) : item, value: isOff ? 'off' : 'on', alone: item });
    }
  }
  return items;
}
