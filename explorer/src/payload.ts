// What Python hands over (jaxcbm/explore/payload.py), and its arrays as numbers.

export interface Packed {
  dtype: "uint8" | "uint16" | "int32" | "float32" | "float64";
  shape: number[];
  data: string;
}

export interface Payload {
  format: number;
  title: string;
  classes: string[];
  names: string[];
  thumbnails: string[];
  labels: Packed;
  models: PackedModel[];
}

export interface Reliability {
  said: number;
  right: number;
  pictures: number;
}

export interface Nec {
  valid: [number, number][];
  test: [number, number][];
  chosen: number;
}

interface PackedModel {
  name: string;
  encoder: string;
  edits: string[];
  phrases: string[];
  activations: { levels: Packed; low: Packed; step: Packed };
  head: { starts: Packed; concepts: Packed; weights: Packed };
  bias: Packed;
  temperature: number;
  calibration: (Record<CalibrationColumn, Packed> & { quantiles: Packed; frequencies: Packed | null }) | null;
  trust: { familiarity: Packed | null; unfamiliar: number; least_probability: number; set_threshold: number } | null;
  truth: Packed | null;
  auc: Packed | null;
  alike: { concepts: Packed; cosines: Packed };
  reliability: Reliability[];
  nec: Nec | null;
  maps: { picture: number; concepts: number[]; values: Packed }[];
}

type Numbers = Uint8Array | Uint16Array | Int32Array | Float32Array | Float64Array;
type CalibrationColumn = "slope" | "intercept" | "mean" | "absent" | "present" | "neutral";

export type Calibration = Record<CalibrationColumn, Numbers> & { quantiles: Numbers; frequencies: Numbers | null };

export interface Trust {
  /** null where there were too few validation images to tell. */
  familiarity: Numbers | null;
  unfamiliar: number;
  leastProbability: number;
  setThreshold: number;
}

/** One model: its phrases, what it says of each picture, and all that its decisions follow from. */
export interface Model {
  name: string;
  encoder: string;
  edits: string[];
  phrases: string[];
  classes: string[];
  levels: Numbers;
  low: Numbers;
  step: Numbers;
  starts: Numbers;
  concepts: Numbers;
  weights: Numbers;
  bias: Numbers;
  temperature: number;
  calibration: Calibration | null;
  trust: Trust | null;
  truth: Numbers | null;
  auc: Numbers | null;
  alike: { concepts: Numbers; cosines: Numbers; count: number };
  reliability: Reliability[];
  nec: Nec | null;
  maps: Map<number, { concepts: number[]; values: Numbers; cells: number }>;
}

const KINDS = {
  uint8: Uint8Array,
  uint16: Uint16Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
};

/** The numbers of a packed array. */
export function unpack(packed: Packed): Numbers {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new KINDS[packed.dtype](bytes.buffer);
}

const unpackOr = (packed: Packed | null) => (packed === null ? null : unpack(packed));

/** A model with its arrays unpacked. */
export function unpackModel(packed: PackedModel, classes: string[]): Model {
  const { activations, head, calibration, trust, alike, maps, ...rest } = packed;
  return {
    ...rest,
    classes,
    levels: unpack(activations.levels),
    low: unpack(activations.low),
    step: unpack(activations.step),
    starts: unpack(head.starts),
    concepts: unpack(head.concepts),
    weights: unpack(head.weights),
    bias: unpack(packed.bias),
    calibration: calibration && {
      slope: unpack(calibration.slope),
      intercept: unpack(calibration.intercept),
      mean: unpack(calibration.mean),
      absent: unpack(calibration.absent),
      present: unpack(calibration.present),
      neutral: unpack(calibration.neutral),
      quantiles: unpack(calibration.quantiles),
      frequencies: unpackOr(calibration.frequencies),
    },
    trust: trust && {
      familiarity: unpackOr(trust.familiarity),
      unfamiliar: trust.unfamiliar,
      leastProbability: trust.least_probability,
      setThreshold: trust.set_threshold,
    },
    truth: unpackOr(packed.truth),
    auc: unpackOr(packed.auc),
    alike: {
      concepts: unpack(alike.concepts),
      cosines: unpack(alike.cosines),
      count: alike.concepts.shape[1]!,
    },
    maps: new Map(
      maps.map((each) => [
        each.picture,
        { concepts: each.concepts, values: unpack(each.values), cells: each.values.shape[2]! },
      ]),
    ),
  };
}
