// How many of something, as a language counts.

type Forms = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };

/** Gives the form for a number; `#` in it stands for the number, grouped as the language does. */
export function counter(locale: string): (count: number, forms: Forms) => string {
  const rules = new Intl.PluralRules(locale);
  const numbers = new Intl.NumberFormat(locale);
  return (count, forms) => (forms[rules.select(count)] ?? forms.other).replaceAll("#", numbers.format(count));
}
