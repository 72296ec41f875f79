/** A text to try, and its name on the page. */
export interface Sample {
  name: string;
  text: string;
  /** A known limit of the model, shown under the text. */
  limit?: string;
  /** The limit is only that of models that do not predict sarcasm. */
  ofSarcasm?: true;
}

const LONG = [
  "I ordered the headphones three weeks ago and was really looking forward to them.",
  "The first pair arrived with a broken hinge, so I wrote to support the same evening.",
  "To be fair, the answer came within an hour and the person was friendly and competent.",
  "The replacement was sent at once and free of charge, which I did not expect at all.",
  "Sadly the second pair has a different problem: the left side crackles when I turn my head.",
  "I have tried two phones and a laptop, with the cable and without, and it is always the same.",
  "The sound itself is wonderful, warm and clear, and the battery lasts for two days of work.",
  "They are light, they do not press on my ears, and the case fits into a coat pocket.",
  "But a product of this price that fails twice in a month is a disappointment, plain and simple.",
  "I have asked for my money back now, and this time nobody has answered for six days.",
  "If they fix the quality control I would buy them again, because the idea behind them is great.",
  "Until then I cannot recommend them to anyone who needs to rely on them every day.",
].join(" ");

export const SAMPLES: readonly Sample[] = [
  { name: "praise", text: "The new release is fantastic, setup took two minutes. Thank you!" },
  { name: "complaint", text: "Nothing loads, nobody answers, and I am still being charged." },
  { name: "plain fact", text: "The meeting was moved to Thursday at three." },
  { name: "emoji", text: "My flight is delayed again 😡😡" },
  {
    name: "sarcasm",
    text: "Oh great, another outage. Third one this week, well done.",
    limit: "Known limit: the model does not detect sarcasm and takes the praise literally.",
    ofSarcasm: true,
  },
  { name: "long review", text: LONG, limit: "Longer than the model reads at once: classified in parts." },
  {
    name: "French",
    text: "Service vraiment nul, je suis très déçu.",
    limit: "Known limit: the model knows English only.",
  },
];

/** The known limit of the model for a text, if it is a sample with one. */
export function limitOf(text: string, findsSarcasm: boolean): string | undefined {
  const sample = sampleOf(text);
  return sample?.ofSarcasm && findsSarcasm ? undefined : sample?.limit;
}

export function sampleOf(text: string): Sample | undefined {
  return SAMPLES.find((sample) => sample.text === text);
}
