import type { z } from 'zod';
import type { OperatorDefinition } from './operator.js';
import { commonOptions } from './request.js';

/** One option of an operator, for lists and pages. */
export interface OptionDescription {
  readonly name: string;
  readonly default: unknown;
  readonly description: string;
}

/** An operator as plain data: what `strata operators --json` prints. */
export function describeOperator(operator: OperatorDefinition): Record<string, unknown> {
  const { plan: _, options, ...rest } = operator;
  return { ...rest, options: [...describeOptions(options.shape), ...describeOptions(commonOptions)] };
}

export function describeOptions(shape: Readonly<Record<string, z.core.$ZodType>>): OptionDescription[] {
  return Object.entries(shape).map(([name, field]) => {
    const option = field as z.ZodType;
    return { name, default: option.safeParse(undefined).data ?? null, description: option.description ?? '' };
  });
}

const LEARNS: Readonly<Record<NonNullable<OperatorDefinition['learns']>, string>> = {
  text: '- Learns: its matrices are trained on text for some steps before the model is written (`--data DIR`)\n',
  weights: "- Learns: from the source's own layers before the model is written; it needs no text\n",
};

/** The page of an operator, in Markdown. */
export function operatorPage(operator: OperatorDefinition): string {
  const rows = [...describeOptions(operator.options.shape), ...describeOptions(commonOptions)].map(
    (option) =>
      `| \`${option.name}\` | \`${JSON.stringify(option.default)}\` | ${option.description.replaceAll('|', '\\|')} |`,
  );
  const { claimed, condition } = operator.preservesFunction;
  return `# ${operator.id}

${operator.title}. ${operator.summary}

- Paper: ${operator.paper}
- Direction: ${operator.direction}, ${operator.size === 'any' ? 'larger or smaller' : operator.size}
- Reaches: ${operator.reaches}
- Preserves the function: ${claimed ? 'yes' : 'no'}; ${condition}
${operator.learns === undefined ? '' : LEARNS[operator.learns]}
\`\`\`text
${operator.drawing}
\`\`\`
${operator.advice === undefined ? '' : `\n${operator.advice}\n`}
| option | default | meaning |
|---|---|---|
${rows.join('\n')}
`;
}

/** All pages by file name, with a list of them. */
export function operatorPages(operators: Iterable<OperatorDefinition>): Map<string, string> {
  const all = [...operators];
  const rows = all.map(
    ({ id, title, direction, preservesFunction: { claimed } }) =>
      `| [${id}](${id}.md) | ${direction} | ${claimed ? 'yes' : 'no'} | ${title} |`,
  );
  const list = `# Growth operators

Written by \`strata operators --markdown docs/operators\` from the operators themselves. \`a+b\` puts a depth and a width
operator together: \`strata grow CKPT --operator stack+hypercloning --factor 2,2\`.

| operator | direction | preserves the function | what it does |
|---|---|---|---|
${rows.join('\n')}
`;
  return new Map([
    ['README.md', list],
    ...all.map((operator) => [`${operator.id}.md`, operatorPage(operator)] as const),
  ]);
}
